"""`host apply` and `host drift` on many hosts: exit codes, the envelope, the lines, the live table."""

import io
import json
import threading
import time

import pytest

from otobotctl.cli import main as cli
from otobotctl.cli.human import fleet as human
from otobotctl.cli.human.hosts import sudo_password
from otobotctl.errors import HostUnreachableError, StepFailedError
from otobotctl.plan.model import Change
from otobotctl.workflows import converging
from otobotctl.workflows.converging import HostPlan, HostRun, PlanRow

STEP = PlanRow("docker/settings", "file", "/etc/docker/daemon.json", (Change("content", diff="-a\n+b"),), ())


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """Three hosts, of which two are in Paris."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OTOBOTCTL_FLEET", raising=False)
    folder = tmp_path / "fleet"
    folder.mkdir()
    hosts = {f"vps-{n}": {"address": f"203.0.113.{n}", "tags": ["paris"] if n < 3 else []} for n in (1, 2, 3)}
    (folder / "clients-config.json").write_text(json.dumps({"version": 1, "hosts": hosts}))
    return folder


@pytest.fixture
def work(monkeypatch):
    """Stand in for the work on one host: `gone` ones cannot be reached, `broken` ones fail, `other` ones differ."""

    class Work:
        def __init__(self):
            self.gone, self.broken, self.other, self.done = set(), set(), set(), []

        def fail(self, name):
            self.done.append(name)
            if name in self.gone:
                raise HostUnreachableError(f"{name}: connection refused", hint="is it on?")
            if name in self.broken:
                raise StepFailedError(f"{name}: base/packages failed: no space left", details=["its output"])

        def apply(self, _loaded, name, listener, _password=None):
            self.fail(name)
            listener.event({"event": "planned", "stage": "docker", "steps": ["docker/settings"], "host": name})
            listener.event({"event": "step_start", "step": "docker/settings", "host": name})
            ended = {"event": "step_end", "step": "docker/settings", "ok": True, "changed": True, "took_s": 0.2}
            listener.event({**ended, "host": name})
            return HostRun(name, 2, ("docker/settings",), 0.5) if name in self.other else HostRun(name, 1, (), 0.5)

        def plan(self, _loaded, name, _password=None):
            self.fail(name)
            return HostPlan(name, 40, (STEP,) if name in self.other else (), ())

    made = Work()
    monkeypatch.setattr(converging, "apply_loaded", made.apply)
    monkeypatch.setattr(converging, "plan_loaded", made.plan)
    return made


def run(fleet, capsys, *words):
    capsys.readouterr()
    code = cli.main([*words, "--fleet", str(fleet)])
    return code, capsys.readouterr()


def envelope(fleet, capsys, *words):
    code, told = run(fleet, capsys, *words, "--json")
    assert told.out.count("\n") == 1
    return code, json.loads(told.out), [json.loads(line) for line in told.err.splitlines() if line.startswith("{")]


def states(found):
    return {host["host"]: host["state"] for host in found["data"]["hosts"]}


def test_all_hosts_succeed(fleet, work, capsys):
    """Exit code 0; each host has its own result, and each event of the story its host."""
    work.other = {"vps-2"}
    code, found, story = envelope(fleet, capsys, "host", "apply", "--all")
    assert code == 0
    assert found["command"] == "host apply"
    assert states(found) == {"vps-1": "unchanged", "vps-2": "changed", "vps-3": "unchanged"}
    assert found["data"]["hosts"][1]["changed"] == ["docker/settings"]
    assert [line["event"] for line in story if line.get("host") == "vps-2"] == [
        "host_start", "planned", "step_start", "step_end", "host_end",
    ]  # fmt: skip


def test_some_hosts_fail(fleet, work, capsys):
    """Exit code 3; data and error in one envelope; a line a host with its own error, code and remedy."""
    work.gone, work.broken = {"vps-1"}, {"vps-3"}
    code, found, _ = envelope(fleet, capsys, "host", "apply", "--all")
    assert code == found["error"]["code"] == 3
    assert states(found) == {"vps-1": "failed", "vps-2": "unchanged", "vps-3": "failed"}
    assert [host["error"] and host["error"]["code"] for host in found["data"]["hosts"]] == [13, None, 1]
    assert found["data"]["hosts"][2]["error"]["details"] == ["its output"]
    assert found["error"]["details"] == [
        "vps-1: exit 13: vps-1: connection refused; next: is it on?",
        "vps-3: exit 1: vps-3: base/packages failed: no space left",
    ]


def test_one_host_keeps_its_own_answer_and_its_own_code(fleet, work, capsys):
    """`host apply NAME` answers about that host alone; a tag that only one host has keeps its code too."""
    code, found, _ = envelope(fleet, capsys, "host", "apply", "vps-1")
    assert code == 0
    assert (found["data"]["host"], found["data"]["executions"], found["data"]["changed"]) == ("vps-1", 1, [])
    work.gone = {"vps-1", "vps-2"}
    assert run(fleet, capsys, "host", "apply", "vps-1")[0] == 13
    assert run(fleet, capsys, "host", "apply", "vps-1", "--tag", "paris")[0] == 3
    assert run(fleet, capsys, "host", "drift", "vps-1")[0] == 13


def test_canary_and_limit_of_failures(fleet, work, capsys):
    """A canary that fails keeps all others as they are; so does the limit."""
    work.gone = {"vps-2"}
    code, found, _ = envelope(fleet, capsys, "host", "apply", "vps-2", "vps-1", "vps-3", "--canary", "1")
    assert code == 3
    assert work.done == ["vps-2"]
    assert states(found) == {"vps-2": "failed", "vps-1": "left out", "vps-3": "left out"}
    work.done.clear()
    work.gone = {"vps-1"}
    code, found, _ = envelope(fleet, capsys, "host", "apply", "--all", "--max-failures", "1", "--parallel", "1")
    assert code == 3
    assert work.done == ["vps-1"]
    assert found["data"]["hosts"][1]["reason"]


def test_what_is_left_after_a_partial_failure_is_named_and_a_rerun_takes_it_up(fleet, work, capsys):
    """Those that failed and those never tried; then the same command again looks at every host, and skips none."""
    work.gone = {"vps-2"}
    code, told = run(fleet, capsys, "host", "apply", "--all", "--max-failures", "1", "--parallel", "1")
    assert code == 3
    assert "or for what is left: otobotctl host apply vps-2 vps-3\n" in told.err
    assert "vps-3: not started: 1 failed before" in told.err
    work.gone.clear()
    work.done.clear()
    assert run(fleet, capsys, "host", "apply", "--all", "--max-failures", "1", "--parallel", "1")[0] == 0
    assert work.done == ["vps-1", "vps-2", "vps-3"]


def with_clients(fleet):
    """A client of the seeds' own n8n on the first host, and one of today's on the third."""
    path = fleet / "clients-config.json"
    written = json.loads(path.read_text())
    common = {"company": "C", "email": "it@c.example", "services": ["postgres", "n8n"]}
    written["clients"] = {
        "old": {**common, "host": "vps-1", "domain": "old.example", "settings": {"n8n": {"version": "1.41.1"}}},
        "new": {**common, "host": "vps-3", "domain": "new.example"},
    }
    path.write_text(json.dumps(written))


@pytest.mark.parametrize("words", [("apply",), ("plan",), ("drift",)])
def test_versions_with_vulnerabilities_are_told_in_the_answer_for_many_hosts(fleet, work, capsys, words):
    """Once each, of the chosen hosts' clients alone; a person reads them among the story."""
    with_clients(fleet)
    _, found, _ = envelope(fleet, capsys, "host", *words, "--all")
    [warning] = found["data"]["warnings"]
    assert warning.startswith("clients.old: n8n 1.41.1 has published vulnerabilities")
    assert envelope(fleet, capsys, "host", *words, "vps-2", "vps-3")[1]["data"]["warnings"] == []
    assert f"warning: {warning}" in run(fleet, capsys, "host", *words, "--all")[1].err


def test_plans_of_many_hosts(fleet, work, capsys):
    """A difference is no error unless --check makes it one; a host that cannot be looked at is."""
    work.other = {"vps-2"}
    code, found, _ = envelope(fleet, capsys, "host", "plan", "--all")
    assert (code, found["ok"], found["command"]) == (0, True, "host plan")
    assert states(found) == {"vps-1": "same", "vps-2": "differs", "vps-3": "same"}
    assert envelope(fleet, capsys, "host", "plan", "--all", "--check")[0] == 4
    work.gone = {"vps-3"}
    code, told = run(fleet, capsys, "host", "plan", "--all")
    assert code == 3
    assert "vps-1: nothing to do\ndocker/settings: /etc/docker/daemon.json\n" in told.out
    assert "      +b\nvps-2: 1 of 40 steps differ\nvps-3: not looked at: vps-3: connection refused\n" in told.out
    assert run(fleet, capsys, "host", "plan")[0] == 2


def test_no_host_named_is_a_usage_error(fleet, work, capsys):
    """Nothing is applied by a slip of the finger."""
    code, told = run(fleet, capsys, "host", "apply")
    assert code == 2
    assert "--all" in told.err
    assert work.done == []


def test_lines_begin_with_the_host(fleet, work, capsys):
    """Where stderr is no terminal, `grep ^vps-2` is the story of one host."""
    work.other, work.gone = {"vps-2"}, {"vps-3"}
    code, told = run(fleet, capsys, "host", "apply", "--all")
    assert code == 3
    story = told.err.partition("error:")[0].splitlines()
    assert all(line.startswith(("vps-1: ", "vps-2: ", "vps-3: ")) for line in story)
    assert "vps-2: docker/settings: changed (0.2 s)" in story
    assert "vps-3: failed: exit 13: vps-3: connection refused" in story
    assert "3 hosts: 1 unchanged, 1 changed, 1 failed" in told.out


def test_drift_is_4_as_soon_as_one_host_differs(fleet, work, capsys):
    """Whatever befell the others, which the details name; the answer holds each step that differs."""
    work.other, work.gone = {"vps-2"}, {"vps-3"}
    code, found, _ = envelope(fleet, capsys, "host", "drift", "--all")
    assert code == found["error"]["code"] == 4
    assert states(found) == {"vps-1": "same", "vps-2": "differs", "vps-3": "failed"}
    assert found["data"]["hosts"][1]["steps"][0]["name"] == "docker/settings"
    assert found["error"]["details"][0] == "vps-2: 1 steps differ"
    assert "vps-3: exit 13" in found["error"]["details"][1]
    code, told = run(fleet, capsys, "host", "drift")
    assert code == 4
    assert "vps-2: docker/settings: /etc/docker/daemon.json: content" in told.out


def test_drift_without_a_difference(fleet, work, capsys):
    """0 when every host was looked at, 3 when one could not be."""
    assert run(fleet, capsys, "host", "drift", "--tag", "paris")[0] == 0
    assert work.done and set(work.done) == {"vps-1", "vps-2"}
    work.gone = {"vps-1"}
    assert run(fleet, capsys, "host", "drift")[0] == 3


def test_a_check_that_finds_a_difference_answers_with_one_envelope(fleet, work, capsys):
    """`host plan --check --json` is one JSON document, with the plan and the error."""
    work.other = {"vps-1"}
    code, found, _ = envelope(fleet, capsys, "host", "plan", "vps-1", "--check")
    assert code == found["error"]["code"] == 4
    assert found["data"]["steps"]


def drawn(board, height):
    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=100).print(board.table(height))
    return text.getvalue()


def test_the_live_table():
    """A row a host: its state, what it does, how much it changed; what a host says is not taken for markup."""
    board = human.Board()
    board.event({"event": "hosts", "hosts": ["a", "b", "c", "d"]})
    for host in ("a", "b", "c"):
        board.event({"event": "host_start", "host": host})
    board.event({"event": "step_end", "step": "x/y", "ok": True, "changed": True, "host": "a"})
    board.event({"event": "host_end", "host": "a", "ok": True, "took_s": 1.0})
    board.event(
        {"event": "host_end", "host": "b", "ok": False, "took_s": 2.0, "code": 1, "error": "[red]no[/red]\nmore"}
    )
    board.event({"event": "step_start", "step": "docker/engine", "host": "c"})
    text = drawn(board, 20)
    rows = {line.split()[0]: line for line in text.splitlines() if line.split()}
    assert "done" in rows["a"]
    assert rows["a"].split()[2] == "1"
    assert "exit 1: [red]no[/red]" in rows["b"]
    assert "running" in rows["c"]
    assert "docker/engine" in rows["c"]
    assert "waiting" in rows["d"]
    assert "1 running, 1 failed, 1 waiting, 1 done" in text


def test_a_table_that_is_too_high_shows_what_is_urgent():
    """On a small screen running and failed hosts are seen first."""
    board = human.Board()
    board.event({"event": "hosts", "hosts": [f"h{n}" for n in range(30)]})
    board.event({"event": "host_start", "host": "h29"})
    board.event({"event": "host_end", "host": "h28", "ok": False, "took_s": 2.0, "code": 13, "error": "gone"})
    text = drawn(board, 10)
    assert len(text.splitlines()) <= 10
    assert "h29" in text
    assert "h28" in text


def test_the_sudo_password_is_asked_for_once(monkeypatch):
    """Before anything is shown, and the same for every host."""
    asked = []
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or "word")
    password = human.sudo_password(ask=True)
    assert asked
    assert password() == password() == "word"
    assert len(asked) == 1
    assert human.sudo_password(ask=False) is None


def test_hosts_that_want_the_sudo_password_at_once_ask_for_it_once(monkeypatch):
    """Two prompts at a time leave a terminal without its echo, or with it while the password is typed."""
    asked, answers, together = [], [], threading.Barrier(4)
    monkeypatch.setattr("getpass.getpass", lambda prompt: asked.append(prompt) or time.sleep(0.1) or "word")
    password = sudo_password(ask=True)
    assert not asked

    def want():
        together.wait()
        answers.append(password())

    threads = [threading.Thread(target=want) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (len(asked), answers) == (1, ["word"] * 4)
    assert sudo_password(ask=False) is None
