"""A program in a container that looks and makes, with a stand-in for docker."""

from __future__ import annotations

import json
import os
import sys

import pytest

from otobotctl.agent.kinds import provision as module
from otobotctl.agent.run import Run, StepError
from otobotctl.agent.running import Running

PROGRAM = """
import json, os, sys
name = "ITEMS"
command, rest = sys.argv[1], sys.argv[2:]
held = json.load(open(name)) if os.path.exists(name) else {}
if command == "check":
    told = json.loads(rest[0])
    assert all(set(item) == {"name", "kind", "id", "digest"} for item in told)
    print(json.dumps({"items": {i["name"]: "ready" if held.get(i["id"]) else "absent" for i in told}}))
else:
    given = json.load(sys.stdin)
    if given[0]["secret"] == "refused": sys.exit("n8n refuses it")
    json.dump({i["id"]: i["secret"] for i in given}, open(name, "w"))
    print("stored", len(given))
"""


@pytest.fixture
def params(monkeypatch, tmp_path):
    """The step's parameters for a service whose program keeps what it is given in a file."""
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.replace("ITEMS", str(tmp_path / "held.json")))
    docker = tmp_path / "docker"
    docker.write_text(
        f'#!/bin/sh\necho "$@" >> {tmp_path}/said\nwhile [ "$1" != c0ffee ]; do shift; done; shift\nexec {sys.executable} "$@"\n'
    )
    docker.chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    monkeypatch.setattr("otobotctl.agent.shell.PATH", path)
    monkeypatch.setattr("otobotctl.agent.run.PATH", path)
    monkeypatch.setattr(module, "running", lambda _project: [Running("c0ffee", "n8n")])
    item = {"name": "credential A", "kind": "credential", "id": "a", "digest": "d", "secret": "t0ken"}
    return {"project": "p", "service": "n8n", "program": [str(program)], "items": [item]}


def test_it_is_made_once_and_then_ready(params, tmp_path):
    """Contents come on stdin; no argument of docker ever has them."""
    assert module.probe(params) == {"running": True, "items": {"credential A": "absent"}, "_trouble": ""}
    said = []
    module.apply(params, Run(said.append))
    assert said == ["stored 1"]
    assert module.probe(params)["items"] == {"credential A": "ready"}
    assert json.loads((tmp_path / "held.json").read_text()) == {"a": "t0ken"}
    assert "t0ken" not in (tmp_path / "said").read_text()


def test_a_program_that_fails_to_make_tells_its_last_line(params):
    """It is the step's error."""
    params["items"][0]["secret"] = "refused"
    with pytest.raises(StepError, match="n8n refuses it"):
        module.apply(params, Run(lambda _line: None))


@pytest.mark.parametrize(
    ("program", "said"),
    [
        ("import sys; sys.exit('no database')", "no database"),
        ("print('hello')", "something else than JSON"),
        ("exit(3)", "ended with 3"),
    ],
)
def test_a_program_that_cannot_look_is_trouble_and_no_error(params, tmp_path, program, said):
    """The host's other steps are looked at and applied all the same."""
    (tmp_path / "program.py").write_text(program)
    found = module.probe(params)
    assert found["running"]
    assert found["items"] == {}
    assert said in found["_trouble"]


def test_a_service_that_does_not_run_is_no_trouble(params, monkeypatch):
    """It is on its way up, or a step of the apply says what is wrong."""
    monkeypatch.setattr(module, "running", lambda _project: [])
    assert module.probe(params) == {"running": False, "items": {}, "_trouble": ""}
    with pytest.raises(StepError, match="n8n of p does not run"):
        module.apply(params, Run(lambda _line: None))
