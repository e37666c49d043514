"""What breaks on the way: lines, workers, journals, sudo, a host without Python."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

import pytest

from otobotctl.converge import engine, pack
from otobotctl.errors import HostUnreachableError, OtobotError, StepFailedError
from tests.converge.story import command_step, file_step, stage
from tests.converge.test_engine import ME, converge, kept, waiting_step
from tests.waiting import until

SUDO_ASKS = """#!/bin/sh
# Like sudo -S: the prompt on stderr, three tries read from stdin, each counted.
log={log}
case "$1" in
-n) echo 'sudo: a password is required' >&2; exit 1 ;;
-S) shift; [ "$1" = -p ] && prompt=$2 && shift 2 ;;
esac
for try in 1 2 3; do
  printf '%s' "$prompt" >&2
  IFS= read -r word || break
  [ "$word" = "right one" ] && exec "$@"
  echo "$word" >>$log
  echo 'Sorry, try again.' >&2
done
exit 1
"""


@pytest.fixture
def user_host(host, tmp_path):
    """A host whose login is no root and whose sudo wants a password."""
    host.open()
    host.add_program("id", "#!/bin/sh\necho 1000\n")
    host.add_program("sudo", SUDO_ASKS.format(log=tmp_path / "tries"))
    return host


@pytest.mark.parametrize("event", ["run_start", "step_start", "output", "step_end", "answer", "run_end"])
def test_a_line_that_breaks_is_taken_up_where_it_broke(host, tmp_path, heard, event):
    """Every record is heard once and every step runs once, wherever the line breaks."""
    once = f"echo ran | tee -a {tmp_path}/runs; sleep 0.1; touch {tmp_path}/done"
    host.cut_after = lambda line: f'"event":"{event}"'.encode() in line
    wanted = stage("one", command_step("one/once", once, tmp_path / "done"))
    result = converge(host, wanted, listener=heard)
    assert result.changed == ("one/once",)
    assert result.executions == 3
    assert (tmp_path / "runs").read_text() == "ran\n"
    assert len(heard.named("lost")) == 1
    events = [record["event"] for record in heard.records if "at" in record]
    assert [name for name in events if name != "output"] == ["run_start", "step_start", "step_end", "answer", "run_end"]


def test_a_host_that_stays_away_is_given_up(host, tmp_path, heard):
    """The error says that the run goes on there."""
    host.cut_after = lambda line: b'"step_start"' in line
    heard.on = lambda record: setattr(host, "gone", record["event"] == "step_start" or host.gone)
    hasty = engine.Patience(reconnect_s=0.2, pause_s=0.01)
    wanted = stage("one", command_step("one/c", f"touch {tmp_path}/done", tmp_path / "done"))
    with pytest.raises(HostUnreachableError, match=r"gone; run .* was under way in one/c") as caught:
        engine.converge_host(host.open, [wanted], who=ME, patience=hasty, listener=heard)
    assert caught.value.exit_code == 13
    until((tmp_path / "done").exists)


def test_a_killed_worker_is_told_and_a_rerun_converges(host, tmp_path, heard):
    """After kill -9 of the applying process: the lock is free, the run is called died, the same command goes on."""

    def kill(record):
        if record["event"] == "output":
            os.kill(json.loads((host.root / "run" / "lock").read_text())["pid"], signal.SIGKILL)

    heard.on = kill
    wanted = stage("one", waiting_step("one/wait", tmp_path), file_step("one/a", tmp_path / "a", "A\n"))
    with pytest.raises(StepFailedError, match="ended from outside, in one/wait"):
        converge(host, wanted, listener=heard)
    seen = engine.ask(host.open, [])
    assert (seen.last["state"], seen.holder) == ("died", None)
    (tmp_path / "go").touch()
    until((tmp_path / "done").exists)  # the command itself was not killed, and ends by itself
    assert converge(host, wanted).changed == ("one/a",)
    assert engine.ask(host.open, []).last["state"] == "ok"


def test_a_journal_that_cannot_be_written_ends_the_run(host, tmp_path):
    """A full disk under the journal is named, and no process stays behind."""
    converge(host, stage("one", file_step("one/a", tmp_path / "a", "A\n")))
    until(kept(host))
    (host.root / "bin" / "python3").unlink()
    host.add_program("python3", f'#!/bin/sh\nulimit -f 8\nexec {host.python} "$@"\n')
    chatty = command_step("one/chatty", f"seq 100000; touch {tmp_path}/never", tmp_path / "never")
    with pytest.raises(OtobotError, match="journal cannot be written: File too large; the run ended with one/chatty"):
        converge(host, stage("one", chatty))
    assert engine.ask(host.open, []).last["state"] == "died"
    assert engine.ask(host.open, []).holder is None


def test_a_run_that_cannot_begin_its_journal_does_nothing(host, tmp_path):
    """A place that cannot be written is named before anything is applied."""
    host.state.mkdir(parents=True)
    (host.state / "agent").write_text("in the way")
    with pytest.raises(StepFailedError, match="the run ended before its first step"):
        converge(host, stage("one", file_step("one/a", tmp_path / "a", "A\n")))
    assert not (tmp_path / "a").exists()


def test_noise_on_the_line_is_no_answer(host, tmp_path):
    """What a login script prints is passed over."""
    host.open()
    (host.root / "bin" / "python3").unlink()
    host.add_program("python3", f"#!/bin/sh\necho 'Welcome {{'; echo '{{nonsense'; exec {host.python} \"$@\"\n")
    assert converge(host, stage("one", file_step("one/a", tmp_path / "a", "A\n"))).changed == ("one/a",)


def test_a_host_without_python_gets_it_first(host, tmp_path):
    """The package manager's words reach no record, and it reads nothing of the request."""
    tools = host.root / "bin"
    host.open()
    (tools / "python3").unlink()
    for name in ("sh", "id", "sleep", "touch", "cat", "ln"):
        (tools / name).symlink_to(Path(shutil.which(name)).resolve())
    installs = f'#!/bin/sh\necho "$@"; cat; [ $1 = update ] || ln -s {host.python} {tools}/python3\n'
    host.add_program("apt-get", installs)
    host.path = str(tools)
    assert converge(host, stage("one", file_step("one/a", tmp_path / "a", "A\n"))).changed == ("one/a",)


def test_a_host_where_python_cannot_be_had_says_so(host):
    """One clear error, with the package manager's own last words."""
    tools = host.root / "bin"
    host.open()
    (tools / "python3").unlink()
    for name in ("sh", "id", "sleep"):
        (tools / name).symlink_to(Path(shutil.which(name)).resolve())
    host.add_program("apt-get", "#!/bin/sh\necho E: no network\nexit 100\n")
    host.path = str(tools)
    with pytest.raises(HostUnreachableError, match="python3 is missing and could not be installed") as caught:
        engine.ask(host.open, [])
    assert "E: no network" in caught.value.details


def test_the_sudo_password_goes_in_when_sudo_asks(user_host, tmp_path):
    """It travels on stdin only, and everything works as for root."""
    wanted = stage("one", file_step("one/a", tmp_path / "a", "A\n"))
    result = converge(user_host, wanted, password=lambda: "right one")
    assert result.changed == ("one/a",)
    assert not any("right one" in word for argv in user_host.executions for word in argv)
    assert converge(user_host, wanted, password=lambda: "right one").executions == 1


def test_a_wrong_sudo_password_counts_as_one_try(user_host, tmp_path):
    """The program sudo reads the password and nothing else; the error names sudo."""
    with pytest.raises(HostUnreachableError, match="sudo does not accept the password"):
        engine.ask(user_host.open, [], password=lambda: "wrong one")
    assert (tmp_path / "tries").read_text() == "wrong one\n"


def test_a_password_that_sudo_does_not_want_is_never_asked_for(host):
    """Where sudo asks nothing, the operator is not asked either."""
    host.open()
    host.add_program("id", "#!/bin/sh\necho 1000\n")
    host.add_program("sudo", '#!/bin/sh\nshift 3\nexec "$@"\n')
    assert engine.ask(host.open, [], password=lambda: pytest.fail("was asked")).boot_id


def test_a_missing_sudo_password_is_one_clear_error(user_host):
    """The hint says how to give it."""
    with pytest.raises(HostUnreachableError, match="may not become root") as caught:
        engine.ask(user_host.open, [])
    assert "--ask-sudo" in caught.value.hint
    assert "sudo: a password is required" in caught.value.details


def test_one_kind_in_trouble_does_not_cost_the_other_answers(host, tmp_path):
    """Its question is answered with an error, the others with facts."""
    questions = [
        {"kind": "file", "params": {}},
        {"kind": "no_such_kind", "params": {}},
        {"kind": "file", "params": {"path": str(tmp_path / "absent")}},
    ]
    broken, unknown, fine = engine.ask(host.open, questions).answers
    assert broken.error == "KeyError: 'path'"
    assert "no kind of step: no_such_kind" in unknown.error
    assert fine.facts == {"type": "absent"}


def test_a_python_that_is_too_old_is_named(host):
    """Python 3.7 and older are refused with what to do, not with a traceback."""
    found = python_of("3.7")
    if found is None:
        pytest.skip("no python3.7 here")
    host.python = found
    with pytest.raises(HostUnreachableError, match=r"its python3 is older than 3\.8"):
        engine.ask(host.open, [])


@pytest.mark.parametrize("version", ["3.8", "3.9", "3.13"])
def test_the_agent_runs_on_other_pythons(host, tmp_path, version):
    """An old Ubuntu's Python and a new one: sent, kept and used again."""
    found = python_of(version)
    if found is None:
        pytest.skip(f"no python{version} here")
    host.python = found
    wanted = stage(
        "one", file_step("one/a", tmp_path / "a", "A\n"), command_step("one/b", f"touch {tmp_path}/b", tmp_path / "b")
    )
    assert converge(host, wanted).changed == ("one/a", "one/b")
    until(kept(host))
    assert converge(host, wanted).executions == 1
    assert list((host.state / "agent" / pack.digest()).rglob(f"*.cpython-{version.replace('.', '')}.pyc"))


def python_of(version: str) -> Path | None:
    pyenv = sorted(Path("/root/.pyenv/versions").glob(f"{version}.*/bin/python3"))
    plain = shutil.which(f"python{version}")
    if pyenv:
        return pyenv[-1]
    return Path(plain) if plain else None


def test_a_request_of_another_version_is_refused(host):
    """The two halves agree on the wire or say that they do not."""
    from otobotctl.converge.exchange import RefusedError, Session

    with Session(host.open) as session, pytest.raises(RefusedError, match="protocol version 2") as caught:
        list(session.exchange({"version": 2, "op": "observe", "questions": []}))
    assert caught.value.code == "refused"
