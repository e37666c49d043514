"""`otobotctl vault connection | tokens | app | apikey` on a real vault, in words and in JSON."""

from __future__ import annotations

import secrets
import time

import pytest

from tests.workflows.vault.standin import opened

MAX = "max@acme.example"


@pytest.fixture(scope="module")
def database(standin):
    """The vault's own database, as its owner."""
    with opened(standin) as connection:
        yield connection


@pytest.fixture
def person(ask):
    """A user of his own."""
    assert ask("user", "add", "acme", MAX).code == 0
    yield MAX
    assert ask("gdpr", "erase", "acme", MAX, "--yes").code == 0


def test_a_connection_and_its_token(ask, person, standin, database):
    """Stored from stdin, listed without its value, expired with exit code 4, watched until Ctrl-C, removed."""
    value = secrets.token_urlsafe(24)
    assert ask("connection", "add", "acme", person, "openai").code == 2
    added = ask("connection", "add", "acme", person, "openai", "--account", "main", "--json", stdin=f"{value}\n")
    assert added.code == 0, added.err
    row = added.data["id"]
    listed = ask("connection", "list", "acme", "--json")
    assert [(one["id"], one["user"], one["status"]) for one in listed.data] == [(row, person, "valid")]
    state = ask("tokens", "acme")
    assert (state.code, "1 in order, 0 not" in state.out, row in state.out) == (0, True, True)

    database.execute("UPDATE vault.client_connections SET token_expires_at = now() - interval '1 day'")
    late = ask("tokens", "acme", "--json")
    assert late.code == 4
    assert (late.data["wanting"], late.data["tokens"][0]["status"], late.error["code"]) == (1, "expired", 4)
    assert "expired" in ask("tokens", "acme").out

    unasked = ask("connection", "remove", "acme", row)
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    removed = ask("connection", "remove", "acme", row, "--yes", "--json")
    assert (removed.code, removed.data) == (0, {"id": row})
    again = ask("connection", "remove", "acme", row, "--yes", "--json")
    assert (again.code, again.error["hint"]) == (2, "otobotctl vault connection list acme")
    assert ask("tokens", "acme").out.startswith("none")
    for said in (added, listed, state, late, removed):
        assert value not in said.out + said.err
    assert value not in standin.argvs


def test_watching_ends_with_ctrl_c(ask, person, monkeypatch):
    """It shows the state again and again; Ctrl-C ends it with the exit code of the last look."""
    import os
    import signal

    looks = []

    def pause(_seconds):
        looks.append(1)
        if len(looks) == 2:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(30)

    monkeypatch.setattr("otobotctl.cli.session.time", type("Clock", (), {"sleep": staticmethod(pause)}))
    said = ask("tokens", "acme", "--watch")
    assert said.code == 0
    assert said.out.count("0 in order, 0 not") == 2
    assert "Traceback" not in said.err


def test_an_application(ask, standin):
    """Its secret comes from stdin; nothing of its value is shown."""
    value = secrets.token_urlsafe(24)
    added = ask("app", "add", "acme", "google", "--client-id", "123.apps", "--json", stdin=value)
    assert added.code == 0, added.err
    row = added.data["id"]
    assert ask("app", "add", "acme", "no-such", "--client-id", "1", stdin="x").code == 2
    assert [one["id"] for one in ask("app", "list", "acme", "--json").data] == [row]
    assert "google" in ask("app", "list", "acme").out
    assert ask("app", "remove", "acme", row).code == 2
    assert ask("app", "remove", "acme", row, "--yes").code == 0
    assert ask("app", "list", "acme").out == "none\n"
    assert value not in added.out + added.err + standin.argvs


def test_an_api_key(ask, standin, tmp_path):
    """Shown once, in a file of its own with --json; it opens what its scope says until it is revoked."""
    assert ask("apikey", "create", "acme", "ci", "--scope", "users.read", "--json").code == 2
    made = ask("apikey", "create", "acme", "ci", "--scope", "users.read")
    assert made.code == 0, made.err
    key = made.out.removesuffix("\n")
    assert key.startswith("otk_")
    assert key not in made.err
    file = tmp_path / "key"
    other = ask("apikey", "create", "acme", "cd", "--scope", "users.read", "--out", str(file), "--json")
    assert other.code == 0
    assert file.read_text().startswith("otk_")
    assert file.read_text().strip() not in other.out + other.err
    assert key not in standin.argvs
    rows = {one["name"]: one["id"] for one in ask("apikey", "list", "acme", "--json").data}
    assert rows.keys() == {"ci", "cd"}
    assert ask("apikey", "revoke", "acme", rows["ci"]).code == 2
    assert ask("apikey", "revoke", "acme", rows["ci"], "--yes").code == 0
    assert "revoked" in ask("apikey", "list", "acme").out
