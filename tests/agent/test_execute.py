"""An operator's command on the host: judged, noted, run without a shell, and what it says told as it comes."""

from __future__ import annotations

import io
import json
import os

import pytest

from otobotctl.agent import execute, gate, policy
from otobotctl.agent.journal import JournalError
from otobotctl.agent.places import Places
from otobotctl.agent.wire import RefusedError, Wire


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Runs a command as `account`, and gives what was sent: (records, stdout, stderr)."""
    told = tmp_path / "policy.json"
    roles = {"reader": {"host": ["echo {name}"], "inside": [], "paths": []}}
    told.write_text(json.dumps({"accounts": {"paul": "reader"}, "roles": roles}))
    monkeypatch.setattr(policy, "read", lambda: json.loads(told.read_text()))
    places = Places(str(tmp_path / "agent" / "kept"), str(tmp_path), str(tmp_path / "run"))

    def run(account, *argv):
        monkeypatch.setenv("SUDO_USER", account)
        request = {"who": "x@y", "client": "", "project": "", "service": "", "argv": list(argv)}
        with (tmp_path / "wire").open("wb") as sink:
            execute.execute(request, places, Wire(sink.fileno()))
        return _read((tmp_path / "wire").read_bytes())

    run.rows = lambda: [json.loads(line) for line in (tmp_path / "audit.jsonl").read_bytes().splitlines()]
    run.places = places
    return run


def _read(data):
    stream, records, said = io.BytesIO(data), [], {1: b"", 2: b""}
    while line := stream.readline():
        record = json.loads(line)
        if "block" in record:
            said[record.get("of", 1)] += stream.read(record["block"])
        else:
            records.append(record)
    return records, said[1], said[2]


def test_it_is_run_and_noted(host):
    """Both streams are told apart; the exit status is the command's own; the rows come before and after."""
    records, stdout, stderr = host("root", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (records, stdout, stderr) == ([{"exit": 3}], b"out\n", b"err\n")
    assert [(row["event"], row.get("status")) for row in host.rows()] == [("exec", None), ("exec_end", 3)]


def test_a_command_has_no_stdin_and_none_of_our_environment(host, monkeypatch):
    """What the agent was started with is nothing of the command's."""
    monkeypatch.setenv("HUNTER", "2")
    assert b"HUNTER" not in host("root", "env")[1]
    assert host("root", "cat") == ([{"exit": 0}], b"", b"")


def test_what_cannot_be_started_says_so(host):
    """As a shell would: status 127."""
    records, _, _ = host("root", "no-such-program")
    assert records == [{"said": "no-such-program: No such file or directory"}, {"exit": 127}]


def test_a_role_is_asked(host):
    """What it lists is run, without a shell; what it does not is noted and refused."""
    assert host("paul", "echo", "hello")[1] == b"hello\n"
    with pytest.raises(RefusedError, match="the role reader may not run echo"):
        host("paul", "echo", "$(id)")
    assert (host.rows()[-1]["event"], host.rows()[-1]["argv"]) == ("refused", ["echo", "$(id)"])


def test_without_an_audit_nothing_is_run(host, tmp_path):
    """Fail closed: a command that could not be noted is not run."""
    (tmp_path / "audit.jsonl").mkdir()
    with pytest.raises(JournalError, match="directory"):
        host("root", "touch", str(tmp_path / "ran"))
    assert not (tmp_path / "ran").exists()


def test_who_stops_listening_ends_the_command(host, monkeypatch):
    """A line that is cut leaves nothing running."""
    monkeypatch.setenv("SUDO_USER", "root")
    ours, theirs = os.pipe()
    os.close(ours)
    request = {"who": "x", "client": "", "project": "", "service": "", "argv": ["sh", "-c", "echo $$; exec sleep 600"]}
    with pytest.raises(BrokenPipeError):
        execute.execute(request, host.places, Wire(theirs))
    os.close(theirs)


@pytest.mark.parametrize(
    ("request_", "passes"),
    [
        ({"op": "exec"}, True),
        ({"op": "ledger", "event": ""}, True),
        ({"op": "ledger", "event": "shell"}, False),
        ({"op": "observe", "questions": [{"kind": "host_status"}]}, True),
        ({"op": "observe", "questions": [{"kind": "host_status"}, {"kind": "file"}]}, False),
        ({"op": "apply"}, False),
        ({"op": "inside"}, False),
        ({"op": "archive"}, False),
        ({"op": "follow"}, False),
    ],
)
def test_the_gate_serves_only_what_a_policy_guards(request_, passes):
    """Everything else wants sudo."""
    if passes:
        gate.allowed(request_)
        return
    with pytest.raises(RefusedError, match="and no more"):
        gate.allowed(request_)
