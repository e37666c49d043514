"""One look at many things of a kind costs one program, and answers as many looks would."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from otobotctl.agent import dpkg, observe, run, shell

_DPKG = """for name in "$@"; do case $name in curl|ufw) printf 'ii \\t%s\\t1.0\\n' "$name" ;; esac; done"""
_SYSTEMCTL = """for unit in "$@"; do
  case $unit in --*|show) continue ;; "@bad") echo "Invalid unit name" >&2; exit 1 ;; esac
  [ -z "$more" ] || echo
  more=1
  echo LoadState=loaded; echo ActiveState=active; echo UnitFileState=$unit; echo NeedDaemonReload=no
done"""
_DOCKER = """case "$1 $2" in
"ps --all") printf 'p-a\\tweb\\tFalse\\trunning\\tUp 2 hours (healthy)\\np-b\\tweb\\tFalse\\texited\\tExited (3) 1 hour ago\\n' ;;
"compose --project-name") case $3 in
  p-a) echo '{"Service":"web","State":"running","Health":"healthy","ExitCode":0}' ;;
  p-b) echo '{"Service":"web","State":"exited","ExitCode":3}' ;;
  esac ;;
"image inspect") shift 3; printf '['; comma=
  for name in "$@"; do
    [ "$name" != gone ] || { echo "Error: No such image: gone" >&2; exit 1; }
    printf '%s{"Id":"id-%s","Config":{"Labels":{"otobot.context":"of-%s"}}}' "$comma" "$name" "$name"; comma=,
  done
  printf ']' ;;
*) exit 9 ;;
esac"""


class Host:
    """Programs that answer as a host's would, and write down each time they are run."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._calls = folder / "calls"
        for name, text in (("dpkg-query", _DPKG), ("systemctl", _SYSTEMCTL), ("docker", _DOCKER)):
            program = folder / name
            program.write_text(f"#!/bin/sh\necho {name} >>{self._calls}\n{text}\n")
            program.chmod(0o755)
        path = f"{folder}:{run.PATH}"
        monkeypatch.setattr(shell, "PATH", path)
        monkeypatch.setattr(dpkg, "STATUS", str(folder / "none"))
        monkeypatch.setenv("PATH", path)

    def calls(self, name: str) -> int:
        """How often a program was run since the last time this was asked for any."""
        lines = self._calls.read_text().splitlines() if self._calls.exists() else []
        self._calls.unlink(missing_ok=True)
        assert all(line.startswith(name) for line in lines), lines
        return len(lines)


@pytest.fixture
def host(tmp_path, monkeypatch):
    return Host(tmp_path, monkeypatch)


def service(name):
    return {"kind": "service", "params": {"name": name, "watches": []}}


MANY = {
    "dpkg-query": [{"kind": "package", "params": {"names": names}} for names in (["curl", "nano"], ["ufw|nft"], [])],
    "systemctl": [service(name) for name in ("ssh", "docker", "ssh", "fail2ban")],
    "docker image": [{"kind": "docker_image", "params": {"reference": name}} for name in ("a:1", "b:2")],
    "docker": [{"kind": "compose_release", "params": {"client": c, "project": f"p-{c}"}} for c in ("a", "b", "none")],
}


@pytest.mark.parametrize("program", MANY)
def test_many_of_a_kind_cost_one_program_and_answer_as_one_by_one(host, program, monkeypatch, tmp_path):
    """In the order of the questions, whatever stands between them."""
    monkeypatch.setattr("otobotctl.agent.releases.ROOT", str(tmp_path / "opt"))
    name = program.split()[0]
    other = {"kind": "directory", "params": {"path": "/"}}
    questions = [each for question in MANY[program] for each in (question, other)]
    alone = [observe.answer(index, question) for index, question in enumerate(questions)]
    asked_alone = sum(bool(question["params"].get("names", True)) for question in MANY[program])
    assert host.calls(name) == asked_alone > 1
    assert observe.answers(questions) == alone
    assert host.calls(name) == 1
    assert all("facts" in each for each in alone)


def test_one_that_cannot_be_looked_at_costs_the_others_nothing(host):
    """They are asked one by one then; the one at fault tells it."""
    found = observe.answers([service("ssh"), service("@bad"), service("docker")])
    assert [each.get("facts", {}).get("enabled") for each in found] == ["ssh", None, "docker"]
    assert "Invalid unit name" in found[1]["error"]
    assert host.calls("systemctl") == 1 + 3
    images = [{"kind": "docker_image", "params": {"reference": name}} for name in ("a:1", "gone")]
    assert [each["facts"]["id"] for each in observe.answers(images)] == ["id-a:1", None]


def test_a_kind_that_is_not_there_is_the_answer_of_its_own_question(host):
    """Nothing else is lost."""
    found = observe.answers([{"kind": "nonsense", "params": {}}, service("ssh")])
    assert "nonsense" in found[0]["error"]
    assert found[1]["facts"]["load"] == "loaded"
    assert os.path.lexists(host._calls)
