"""`n8n export` and `n8n import` as an operator types them: answers, questions, exit codes, one envelope."""

from __future__ import annotations

import json

import pytest

from otobotctl.cli import main as cli
from tests.workflows.n8n.test_carry import Door, workflow


@pytest.fixture
def door(tmp_path, monkeypatch):
    """A fleet in which acme's n8n is in memory."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OTOBOTCTL_FLEET", raising=False)
    assert cli.main(["init", str(tmp_path / "fleet")]) == 0
    monkeypatch.chdir(tmp_path / "fleet")
    made = Door(workflow("a"), workflow("b", "Bonjour"))
    monkeypatch.setattr("otobotctl.workflows.n8n.door.N8nDoor", lambda *_: made)
    return made


def answered(capsys, *argv):
    """The exit code and the envelope."""
    capsys.readouterr()
    code = cli.main([*argv, "--json"])
    (line,) = capsys.readouterr().out.splitlines()
    return code, json.loads(line)


def test_an_export_is_one_envelope_and_files_in_the_fleet(door, capsys):
    """Every row has its file; a second one writes nothing."""
    code, told = answered(capsys, "n8n", "export", "acme")
    assert (code, told["command"], told["ok"]) == (0, "n8n export", True)
    assert {row["file"]: row["did"] for row in told["data"]["workflows"]} == {
        "hello.json": "written",
        "bonjour.json": "written",
    }
    _, told = answered(capsys, "n8n", "export", "acme")
    assert {row["did"] for row in told["data"]["workflows"]} == {"unchanged"}


def test_an_import_asks_and_yes_answers(door, capsys):
    """Nobody there to ask: 2, and nothing is done. With --yes it is; what n8n did not take is 3, with the rows."""
    assert cli.main(["n8n", "export", "acme"]) == 0
    door.stored["a"] = workflow("a", url="https://other.example")
    code, told = answered(capsys, "n8n", "import", "acme")
    assert (code, told["ok"]) == (2, False)
    assert "Overwrite Hello" in told["error"]["message"]
    assert door.calls == []
    code, told = answered(capsys, "n8n", "import", "acme", "clients/acme/workflows/hello.json", "--yes")
    assert code == 0
    assert [(row["id"], row["did"]) for row in told["data"]["workflows"]] == [("a", "updated")]
    door.stored["a"] = workflow("a", url="https://other.example")
    door.refused = ("a",)
    code, told = answered(capsys, "n8n", "import", "acme", "--yes")
    assert (code, told["error"]["code"]) == (3, 3)
    assert {row["id"]: row["did"] for row in told["data"]["workflows"]} == {"a": "failed", "b": "unchanged"}


def test_people_get_a_table(door, capsys):
    """And what to look at, on stderr."""
    assert cli.main(["n8n", "export", "acme", "--workflow", "Hello"]) == 0
    told = capsys.readouterr().out
    assert "written" in told
    assert "hello.json" in told


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["n8n", "import", "acme", "--activate", "--deactivate"], "opposite"),
        (["n8n", "import", "acme", "none.json"], "none.json cannot be read"),
        (["n8n", "import", "acme"], "there is no workflow in"),
        (["n8n", "export", "acme", "--workflow", "X"], "has no workflow X"),
    ],
)
def test_a_wrong_call_is_told_in_a_line(door, capsys, argv, said):
    """Exit code 2, with what to do next."""
    code, told = answered(capsys, *argv)
    assert code == 2
    assert said in told["error"]["message"]
    assert told["error"]["hint"]
