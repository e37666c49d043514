"""What goes wrong with real hosts while they are converged: lines, power, disks, people."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path

import pytest

from otobotctl.converge import engine
from otobotctl.errors import DriftError, HostUnreachableError, LockedError, OtobotError, StepFailedError
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.model import Step
from tests.e2e.driver import Heard, Way, command_step, converge, file_step, stage, waiting_stages
from tests.lab.host import Host
from tests.lab.shell import until

_ROOTS = (f"/root/fault{number}" for number in count())
PASSWORD = "le mot de passe"
REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def way(module_host: Host, tmp_path: Path) -> Way:
    return Way.to(module_host, tmp_path / "way")


@pytest.fixture
def root() -> str:
    """A directory of the host that no other test uses."""
    return next(_ROOTS)


def put(host: Host, path: str, text: str = "") -> None:
    host.inside("sh", "-c", 'printf %s "$2" >"$1"', "sh", path, text)


def read(host: Host, path: str) -> str:
    return host.inside("cat", path).stdout


def there(host: Host, path: str) -> bool:
    return host.inside("test", "-e", path, check=False).returncode == 0


def holder(host: Host) -> dict:
    return json.loads(read(host, "/run/otobot/lock"))


def on_output(act):
    """A listener that acts once, when the waiting step has said that it has begun."""
    acted = []
    return Heard(lambda record: record["event"] == "output" and not acted and (acted.append(1) or act()))


def go(host: Host, root: str) -> None:
    put(host, f"{root}/go")


def test_an_unchanged_host_costs_one_session(module_host, way, root):
    """Counted in sshd's own log: two sessions for a first apply of one stage, one for the second."""
    wanted = stage(
        "one", Step("one/root", spec_class("directory")(path=root, mode="0755")), file_step("one/a", f"{root}/a", "A\n")
    )
    module_host.mark_sessions()
    assert converge(way, wanted).executions == 2
    until(lambda: module_host.sessions() == 2, "two executions", 60)
    module_host.mark_sessions()
    again = converge(way, wanted)
    assert (again.executions, again.changed) == (1, ())
    until(lambda: module_host.sessions() == 1, "one execution", 60)


def test_a_cut_connection_is_taken_up_again(module_host, way, root):
    """The host goes on in a control group of its own; the run is followed to its end and ran once."""

    def cut() -> None:
        assert f"/otobot-{heard.records[-3]['run']}.scope" in read(
            module_host, f"/proc/{holder(module_host)['pid']}/cgroup"
        )
        module_host.kill_sessions()
        go(module_host, root)

    heard = on_output(cut)
    result = converge(way, *waiting_stages(root), listener=heard)
    assert result.changed == ("wait/wait", "wait/after")
    assert heard.named("lost")
    assert read(module_host, f"{root}/runs") == "ran\n"


def test_a_killed_command_is_followed_by_the_next_one(module_host, way, root):
    """After kill -9 of the operator's own process the next apply finds the run and follows it."""
    argv = [sys.executable, "-m", "tests.e2e.driver", json.dumps(asdict(way), default=str), root]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert any(line == "output\n" for line in process.stdout)
        process.kill()
    heard = Heard(lambda record: record["event"] == "reattached" and go(module_host, root))
    result = converge(Way.to(module_host, way.directory.parent / "second"), *waiting_stages(root), listener=heard)
    assert result.reattached
    assert result.changed == ()
    assert read(module_host, f"{root}/runs") == "ran\n"
    assert there(module_host, f"{root}/after")


def test_a_killed_worker_is_told_and_a_rerun_converges(module_host, way, root):
    """The applying process dies on the host: said at once, and put right by the same command."""
    heard = on_output(lambda: module_host.inside("kill", "-9", str(holder(module_host)["pid"])))
    with pytest.raises(StepFailedError, match="ended from outside, in wait/wait"):
        converge(way, *waiting_stages(root), listener=heard)
    seen = engine.ask(way.open, [])
    assert (seen.last["state"], seen.last["step"], seen.holder) == ("died", "wait/wait", None)
    go(module_host, root)
    until(lambda: there(module_host, f"{root}/done"), "the command, which was not killed, to end", 60)
    assert converge(way, *waiting_stages(root)).changed == ("wait/after",)


def test_a_power_cut_is_told_and_a_rerun_converges(module_host, way, root):
    """The host comes back with the step half done; nothing has to be cleaned up by hand."""
    boots: list[threading.Thread] = []

    def cut() -> None:
        module_host.power_cut()
        boots.append(threading.Thread(target=module_host.boot))
        boots[0].start()

    with pytest.raises(StepFailedError, match="ended from outside, in wait/wait"):
        converge(way, *waiting_stages(root), listener=on_output(cut))
    boots[0].join()
    go(module_host, root)
    assert "wait/after" in converge(way, *waiting_stages(root)).changed
    assert converge(way, *waiting_stages(root)).changed == ()


def test_a_full_disk_leaves_the_old_file(module_host, way, root):
    """The step fails with the reason; what was there is whole, and nothing lies beside it."""
    small = f"{root}/small"
    module_host.small_disk(small)
    try:
        put(module_host, f"{small}/a", "old\n")
        with pytest.raises(StepFailedError, match=r"one/a failed: .*No space left on device"):
            converge(way, stage("one", file_step("one/a", f"{small}/a", "x" * 200_000)))
        assert read(module_host, f"{small}/a") == "old\n"
        assert module_host.inside("ls", "-A", small).stdout == "a\n"
    finally:
        module_host.large_disk(small)


def test_a_full_disk_under_the_journal_ends_the_run(module_host, way, root):
    """A run that cannot be written down ends with the step under way, and the host is free."""
    runs = "/var/lib/otobot/runs"
    module_host.small_disk(runs)
    try:
        chatty = command_step("one/chatty", f"seq 20000; touch {root}", root)
        wanted = stage("one", chatty, file_step("one/after", f"{root}-after", "x"))
        with pytest.raises(OtobotError, match="journal cannot be written: No space left on device"):
            converge(way, wanted)
        assert engine.ask(way.open, []).holder is None
    finally:
        module_host.large_disk(runs)
    assert converge(way, wanted).changed == ("one/after",)


def test_a_failing_step_stops_the_rest(module_host, way, root):
    """Later steps do not run, and the step's own stderr is shown."""
    fails = command_step("one/fails", "echo what went wrong >&2; exit 3", f"{root}-never")
    with pytest.raises(StepFailedError, match="one/fails failed: sh ended with 3") as caught:
        converge(way, stage("one", fails, file_step("one/after", f"{root}-after", "x")))
    assert caught.value.details == ("what went wrong",)
    assert caught.value.exit_code == 1
    assert not there(module_host, f"{root}-after")


def test_two_operators_do_not_meet(module_host, way, root):
    """The second one is told who is at work, with exit code 11; the first one's run goes on."""
    other = Way.to(module_host, way.directory.parent / "other")
    refused: list[LockedError] = []

    def meanwhile() -> None:
        with pytest.raises(LockedError, match="locked by me@here") as caught:
            converge(other, *waiting_stages(root), who="you@there")
        refused.append(caught.value)
        go(module_host, root)

    assert converge(way, *waiting_stages(root), listener=on_output(meanwhile)).changed == ("wait/wait", "wait/after")
    assert [error.exit_code for error in refused] == [11]


def test_a_file_changed_since_the_plan_is_not_overwritten(module_host, way, root):
    """Exit code 4, and the hand's work stands."""
    put(module_host, f"{root}-a", "old\n")
    heard = Heard(lambda record: record["event"] == "planned" and put(module_host, f"{root}-a", "by hand\n"))
    with pytest.raises(DriftError, match="one/a: it was changed") as caught:
        converge(way, stage("one", file_step("one/a", f"{root}-a", "new\n")), listener=heard)
    assert caught.value.exit_code == 4
    assert read(module_host, f"{root}-a") == "by hand\n"


def test_a_silent_line_is_noticed_and_followed_again(module_host, way, root):
    """Packets that vanish without an answer are told from a slow step; the run is followed once they pass again."""

    def hear(record) -> None:
        if record["event"] == "output" and not heard.named("lost"):
            module_host.link("down")
        elif record["event"] == "lost" and len(heard.named("lost")) == 1:
            module_host.link("up")
            until(module_host.answers, "the link", 60)
            go(module_host, root)

    heard = Heard(hear)
    try:
        result = converge(way, *waiting_stages(root), listener=heard)
    finally:
        module_host.link("up")
    assert result.changed == ("wait/wait", "wait/after")
    assert read(module_host, f"{root}/runs") == "ran\n"


def test_a_reboot_is_waited_for(module_host, way, root):
    """The host goes down in the middle, and the later stage is applied to the new boot."""
    put(module_host, f"/run{root.replace('/', '-')}")
    reboot = Step("one/reboot", spec_class("reboot")(path=f"/run{root.replace('/', '-')}", kernel=False))
    wanted = (stage("one", reboot), stage("two", file_step("two/a", f"{root}-a", "A\n")))
    result = converge(way, *wanted)
    assert result.changed == ("one/reboot", "two/a")
    assert len(set(result.boot_ids)) == 2
    assert converge(way, *wanted).executions == 1


@pytest.fixture
def sudo_asks(module_host: Host) -> Iterator[None]:
    """The user's sudo wants a password, for one test."""
    rule = module_host.root / "etc/sudoers.d/90-cloud-init-users"
    before = rule.read_bytes()
    module_host.require_sudo_password(PASSWORD)
    yield
    rule.write_bytes(before)
    rule.chmod(0o440)


@pytest.mark.usefixtures("sudo_asks")
def test_a_sudo_password_is_given_when_asked_for(module_host, way, root):
    """It works like root, in one session, and stands in no process list."""
    wanted = stage("one", file_step("one/a", f"{root}-a", "A\n"))
    assert converge(way, wanted, password=lambda: PASSWORD).changed == ("one/a",)
    module_host.mark_sessions()
    assert converge(way, wanted, password=lambda: PASSWORD).executions == 1
    until(lambda: module_host.sessions() == 1, "one execution", 60)


@pytest.mark.usefixtures("sudo_asks")
def test_a_wrong_sudo_password_is_one_try(module_host, way):
    """One clear error; the host counts one failure, not three."""
    with pytest.raises(HostUnreachableError, match="sudo does not accept the password"):
        engine.ask(way.open, [], password=lambda: "not this one")
    logged = "journalctl -q --no-pager -o cat _COMM=sudo | grep -o '[0-9]* incorrect password attempt[s]*' | tail -n 1"
    until(lambda: module_host.inside("sh", "-c", logged).stdout, "sudo's own words", 60)
    assert module_host.inside("sh", "-c", logged).stdout == "1 incorrect password attempt\n"
    with pytest.raises(HostUnreachableError, match="may not become root by sudo without a password"):
        engine.ask(way.open, [])


def test_root_needs_no_sudo(module_host, tmp_path, root):
    """A root login runs the agent as it is."""
    way = Way.to(module_host, tmp_path / "root", user="root")
    assert converge(way, stage("one", file_step("one/a", f"{root}-a", "A\n"))).changed == ("one/a",)


def test_a_host_without_python_gets_it_first(make_host, tmp_path):
    """A minimal Debian is converged like any other, from its first execution on."""
    host = make_host()
    host.remove_python()
    assert not there(host, "/usr/bin/python3")
    way = Way.to(host, tmp_path / "way")
    assert converge(way, stage("one", file_step("one/a", "/root/a", "A\n"))).changed == ("one/a",)
    assert read(host, "/root/a") == "A\n"
