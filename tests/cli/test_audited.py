"""What the fleet's own audit says of the command lines that were run."""

from __future__ import annotations

import json

import pytest

from otobotctl import chain, person
from otobotctl.cli import main as cli
from otobotctl.errors import ManifestError
from otobotctl.workflows import audit
from otobotctl.workflows.selection import Selection


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("OTOBOTCTL_FLEET", raising=False)
    assert cli.main(["init", str(tmp_path / "fleet")]) == 0
    monkeypatch.chdir(tmp_path / "fleet")
    return tmp_path / "fleet"


def noted(fleet):
    return [row for path in sorted((fleet / "audit").glob("*.jsonl")) for row in chain.rows(path)]


def test_what_changed_something_is_noted(fleet, capsys):
    """Who, when, the command line and its exit code; another fleet named by --fleet gets its own."""
    assert cli.main(["host", "add", "vps-1", "--address", "203.0.113.10"]) == 0
    assert cli.main(["host", "remove", "vps-1", "--yes", f"--fleet={fleet}"]) == 0
    first, second = noted(fleet)
    assert (first["event"], first["code"]) == ("command", 0)
    assert first["argv"] == ["host", "add", "vps-1", "--address", "203.0.113.10"]
    assert first["who"] == person.name()
    assert second["argv"][-3:] == ["host", "remove", "vps-1"]
    assert second["at"] >= first["at"] > 1_700_000_000
    capsys.readouterr()


def test_looks_and_refusals_are_not(fleet, capsys):
    """What only looks, help, and what was refused before anything was written leave no row."""
    for argv in (
        ["host", "list"],
        ["manifest", "validate"],
        ["host", "--help"],
        ["client", "show", "x"],
        ["--version"],
    ):
        cli.main(argv)
    assert cli.main(["host", "remove", "nobody", "--yes"]) == 10
    assert noted(fleet) == []
    capsys.readouterr()


def test_a_command_of_exec_is_not_kept(fleet, capsys):
    """What comes after `--` may hold anything; the host's audit has it, masked."""
    assert cli.main(["host", "add", "vps-1", "--address", "203.0.113.10"]) == 0
    assert cli.main(["exec", "vps-1", "--", "x", "--password", "hunter2"]) != 0
    assert "hunter2" not in "".join(path.read_text() for path in (fleet / "audit").iterdir())
    capsys.readouterr()


def test_an_audit_that_was_changed_is_told(fleet, capsys):
    """`audit` shows the rows, and ends with 4 once one of them is not what it was."""
    for name in ("a", "b"):
        assert cli.main(["host", "add", f"vps-{name}", "--address", f"{name}.example"]) == 0
    for name in ("a", "b"):
        assert cli.main(["host", "remove", f"vps-{name}", "--yes"]) == 0
    capsys.readouterr()
    assert cli.main(["audit", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["data"]
    assert [row["what"]["argv"][1] for row in told["entries"]] == ["add", "add", "remove", "remove"]
    path = next((fleet / "audit").glob("*.jsonl"))
    path.write_text(path.read_text().replace("vps-a", "vps-x", 1))
    assert cli.main(["audit", "--json"]) == 4
    said = json.loads(capsys.readouterr().out)
    assert ":2: this row does not follow" in said["error"]["details"][0]
    with pytest.raises(ManifestError):
        chain.rows(path)


def test_an_anchor_that_is_damaged_is_not_passed_over(fleet):
    """A new one would hide just what it is there to show."""
    (fleet / "audit").mkdir(exist_ok=True)
    (fleet / "audit" / "hosts.json").write_text("{")
    from otobotctl.fleet import Fleet

    with pytest.raises(ManifestError, match=r"hosts\.json is damaged"):
        audit.audited(Fleet(fleet), Selection(every=True))


def test_a_host_cut_short_or_written_anew_is_told():
    """The anchor of the last reading shows both."""
    from otobotctl.agent.protocol import line_digest, linked

    lines: list[bytes] = []
    for number in range(4):
        lines.append(linked(lines[-1] if lines else b"", {"n": number}).rstrip(b"\n"))
    anchor = {"rows": 3, "digest": line_digest(lines[2])}
    assert audit._wrong("vps-1", lines, anchor) == []
    assert audit._wrong("vps-1", lines, None) == []
    assert "cut off" in audit._wrong("vps-1", lines[:2], anchor)[0]
    anew: list[bytes] = []
    for number in range(4):
        anew.append(linked(anew[-1] if anew else b"", {"n": -number}).rstrip(b"\n"))
    assert "written anew" in audit._wrong("vps-1", anew, anchor)[0]
