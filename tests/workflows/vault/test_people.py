"""`otobotctl vault client | user | gdpr` on a real vault, in words and in JSON."""

from __future__ import annotations

import json
import stat

LEA = "lea@acme.example"


def test_a_user_from_the_first_password_to_erasure(ask, tmp_path, standin):
    """Added, listed, changed, reset, exported and erased; the one-time passwords are told once and never in --json."""
    refused = ask("user", "add", "acme", LEA, "--json")
    assert refused.code == 2
    assert "--out" in refused.error["hint"]
    assert ask("user", "list", "acme", "--json").data == []

    added = ask("user", "add", "acme", LEA, "--name", "Léa", "--role", "admin")
    assert added.code == 0, added.err
    first = added.out.removesuffix("\n")
    assert len(first) > 20
    assert "shown this once" in added.err
    assert first not in added.err

    listed = ask("user", "list", "acme", "--json").data
    assert [(one["email"], one["name"], one["role"]) for one in listed] == [(LEA, "Léa", "admin")]
    words = ask("user", "list", "acme").out
    assert f"{LEA}  Léa   admin  active  never" in words

    file = tmp_path / "lea.txt"
    reset = ask("user", "reset", "acme", LEA.upper(), "--out", str(file), "--json")
    assert reset.code == 0
    second = file.read_text().removesuffix("\n")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert second not in reset.out + reset.err
    assert second != first
    assert ask("user", "reset", "acme", LEA, "--out", str(file)).code == 2

    assert ask("user", "change", "acme", LEA, "--role", "user", "--inactive", "--json").data["isActive"] is False
    assert "inactive" in ask("user", "change", "acme", LEA, "--name", "L").out

    export = tmp_path / "lea.json"
    assert ask("gdpr", "export", "acme", LEA, "--out", str(export), "--json").data == {"written": str(export)}
    assert stat.S_IMODE(export.stat().st_mode) == 0o600
    assert LEA in export.read_text()
    assert json.loads(ask("gdpr", "export", "acme", LEA).out).keys() == json.loads(export.read_text()).keys()

    unasked = ask("gdpr", "erase", "acme", LEA)
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    assert ask("gdpr", "erase", "acme", LEA, "--yes").code == 0
    assert LEA not in ask("user", "list", "acme").out
    kept = ask("user", "list", "acme", "--erased", "--json")
    assert LEA not in kept.out
    assert listed[0]["id"] in kept.out
    gone = ask("gdpr", "erase", "acme", LEA, "--yes")
    assert (gone.code, "has no user" in gone.err, "otobotctl vault user list acme" in gone.err) == (2, True, True)
    for value in (first, second):
        assert value not in standin.argvs


def test_the_client(ask):
    """In words and in JSON."""
    assert ask("client", "show", "acme", "--json").data["slug"] == "acme"
    assert "acme" in ask("client", "show", "acme").out


def test_what_the_vault_refuses(ask):
    """Its own words, exit code 2."""
    refused = ask("user", "add", "acme", "no-address")
    assert refused.code == 2
    assert "the vault of acme refuses" in refused.err
    assert ask("user", "add", "acme", "x@acme.example", "--role", "king").code == 2
    assert ask("user", "list", "other").code == 10
