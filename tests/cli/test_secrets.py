"""`secrets status`, `show` and `set` as an operator meets them: exit codes, questions, envelopes, no value unasked."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from otobotctl import fleet as fleets
from otobotctl import secrets
from otobotctl.cli import main as cli
from otobotctl.workflows import secrets as sealed
from otobotctl.workflows.desired import load
from tests.render.sample import catalog

SLUG = "acme"
MONTHLY = {spec.name for spec in catalog().secret_specs(["vault-api", "n8n"]) if spec.rotate_days == 30}


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """One client, its secrets minted today."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home").mkdir()
    for name in ("OTOBOTCTL_IDENTITY", "OTOBOTCTL_FLEET"):
        monkeypatch.delenv(name, raising=False)
    assert cli.main(["init", str(tmp_path / "fleet")]) == 0
    fleet = fleets.find(tmp_path / "fleet")
    written = json.loads(fleet.manifest.read_text())
    written["hosts"] = {"vps-1": {"address": "203.0.113.1"}}
    client = {"company": "ACME", "email": "it@acme.example", "host": "vps-1", "domain": "acme.example"}
    written["clients"] = {SLUG: {**client, "services": ["postgres", "vault-api", "n8n", "nginx"]}}
    fleet.manifest.write_text(json.dumps(written))
    sealed.mint(load(fleet), SLUG)
    return fleet


@pytest.fixture
def ask(fleet, capsys, monkeypatch):
    """Run a `secrets` command; its exit code, stdout and stderr."""

    def run(*words, stdin=""):
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = cli.main(["secrets", *words, "--fleet", str(fleet.root)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def store(fleet):
    return secrets.open_store(fleet.client(SLUG), secrets.identities())


def aged(fleet, days):
    """The same secrets, made so many days ago."""
    import msgspec

    found = store(fleet)
    then = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
    for known in found.metadata.values():
        found = found.described(msgspec.structs.replace(known, created=then))
    secrets.save(fleet.client(SLUG), found, found.recipients)


def test_status_needs_no_key_and_ends_with_4_when_one_is_overdue(fleet, ask, monkeypatch, tmp_path):
    """Fresh: 0. After 31 days the internal tokens are due, and the hint is the command that puts it right."""
    aged(fleet, 31)
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    code, out, err = ask("status", SLUG)
    assert code == 4
    assert f"{len(MONTHLY)} secrets want somebody to act" in err
    assert f"next:  otobotctl secrets rotate {SLUG} --due" in err
    assert out.index("N8N_INTERNAL_TOKEN") < out.index("AUDIT_HMAC_KEY")
    code, out, _ = ask("status", "--all", "--json")
    told = json.loads(out)
    assert (code, told["ok"], told["error"]["code"], told["data"]["overdue"]) == (4, False, 4, len(MONTHLY))
    assert told["data"]["secrets"][0].keys() >= {"client", "name", "state", "due", "age_days", "rotate_days", "because"}


def test_status_of_what_is_fresh_is_0(ask):
    """And naming nobody is a question of usage."""
    assert ask("status", SLUG)[0] == 0
    assert ask("status")[0] == ask("status", SLUG, "--all")[0] == 2


def test_show_asks_first_and_prints_the_one_value_alone(fleet, ask):
    """Without a terminal it wants --yes; --json has it only when that is asked for too."""
    value = store(fleet).values["API_JWT_SECRET"].reveal()
    code, out, err = ask("show", SLUG, "API_JWT_SECRET")
    assert (code, value in out + err) == (2, False)
    code, out, err = ask("show", SLUG, "API_JWT_SECRET", "--yes")
    assert (code, out, value in err) == (0, f"{value}\n", False)
    code, out, _ = ask("show", SLUG, "API_JWT_SECRET", "--yes", "--json")
    assert (code, value in out) == (2, False)
    code, out, _ = ask("show", SLUG, "API_JWT_SECRET", "--yes", "--json", "--in-json")
    assert (code, json.loads(out)["data"]["value"]) == (0, value)
    code, _, err = ask("show", SLUG, "NOPE", "--yes")
    assert (code, "API_JWT_SECRET" in err) == (2, True)


def test_set_asks_before_it_replaces_what_would_lose_data(fleet, ask):
    """n8n's key has a value: only --yes replaces it without a terminal. Others are simply set, from stdin."""
    before = store(fleet).values["N8N_ENCRYPTION_KEY"].reveal()
    code, _, err = ask("set", SLUG, "N8N_ENCRYPTION_KEY", stdin="moved-from-the-old-server")
    assert (code, "would be lost" in err) == (2, True)
    assert store(fleet).values["N8N_ENCRYPTION_KEY"].reveal() == before
    code, out, err = ask("set", SLUG, "N8N_ENCRYPTION_KEY", "--yes", stdin="moved-from-the-old-server\n")
    assert (code, "moved" in out + err) == (0, False)
    assert store(fleet).values["N8N_ENCRYPTION_KEY"].reveal() == "moved-from-the-old-server"
    assert ask("set", SLUG, "NOPE", stdin="x")[0] == 2


def test_set_leaves_a_secret_alone_that_is_being_rotated(fleet, ask):
    """Neither of its two values may get lost."""
    spec = next(each for each in load(fleet).catalog.secret_specs(["vault-api"]) if each.name == "N8N_INTERNAL_TOKEN")
    found = secrets.rotate(store(fleet), spec, datetime.now(UTC))
    secrets.save(fleet.client(SLUG), found, found.recipients)
    code, _, err = ask("set", SLUG, "N8N_INTERNAL_TOKEN", stdin="x" * 40)
    assert (code, "is being rotated" in err, "--resume" in err) == (2, True, True)
    code, _, err = ask("status", SLUG)
    assert (code, "--resume" in err) == (4, True)


def test_rotate_asks_and_says_what_it_ends(ask):
    """Before anything is opened on a host; what cannot be exchanged is told with its reason."""
    code, _, err = ask("rotate", SLUG, "--all")
    assert code == 2
    assert "left alone: N8N_ENCRYPTION_KEY: n8n cannot seal" in err
    assert "n8n's users log in again" in err
    assert "add --yes" in err
