"""`otobotctl vault rotate-key` on a real vault: killed at every boundary it goes on, and no key is lost too early."""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys

import pytest

from otobotctl import secrets as sealed
from otobotctl.errors import StepFailedError
from otobotctl.vault_api import keys
from otobotctl.vault_api.configuration import Hidden
from otobotctl.workflows import converging
from otobotctl.workflows.vault.rotation import KEY
from tests.workflows.vault.conftest import asking, deployed, new_standin
from tests.workflows.vault.killed import deploys
from tests.workflows.vault.standin import ROOT, SLUG, opened

MAX = "max@acme.example"
ROWS = 250


@pytest.fixture
def own(home, postgres, tmp_path, monkeypatch):
    """A deployed vault of the test's own."""
    made = new_standin(postgres, tmp_path)
    with deployed(made):
        monkeypatch.setattr(converging, "deploy", deploys(made))
        yield made


@pytest.fixture
def ask(own, capsys, monkeypatch):
    """Commands about this vault."""
    return asking(own, capsys, monkeypatch)


def store(own):
    return sealed.open_store(own.fleet.client(SLUG), sealed.identities())


def openable(own):
    """Every version that a stored value needs has its key in the sealed store; return those versions."""
    values = [store(own).values.get(name) for name in (KEY, sealed.previous(KEY))]
    found = [Hidden(each.reveal()) for each in values if each is not None and each.reveal()]
    with opened(own) as connection:
        ((client,),) = connection.execute("SELECT id FROM vault.clients").fetchall()
        proofs = dict(connection.execute("SELECT version, proof FROM vault.encryption_keys").fetchall())
        needed = {
            row[0]
            for row in connection.execute(
                "SELECT DISTINCT split_part(encrypted_api_key, ':', 1)::int FROM vault.client_connections"
            ).fetchall()
        }
    assert needed <= keys.recognise(found, proofs, keys.place(SLUG, client)).keys()
    return needed


def fill(own, ask):
    """A user with a stored API key, and rows enough that the rewrap takes more than one batch; return that key."""
    assert ask("user", "add", SLUG, MAX).code == 0
    value = secrets.token_urlsafe(24)
    assert ask("connection", "add", SLUG, MAX, "openai", stdin=value).code == 0
    with opened(own) as connection:
        # The user's own value, copied to rows that no other value could open: sealed here for each.
        from otobotctl.vault_api.crypto import Keyring, Place

        ring = Keyring({1: bytes.fromhex(store(own).values[KEY].reveal())}, 1)
        ((client,),) = connection.execute("SELECT id FROM vault.clients").fetchall()
        for number in range(ROWS):
            user, row = (f"00000000-0000-4000-{kind}000-{number:012d}" for kind in "89")
            connection.execute(
                "INSERT INTO vault.users (client_id, id, email) VALUES (%s, %s, %s)",
                (client, user, f"{number}@x.example"),
            )
            text = ring.seal(f"key-{number}", Place(SLUG, user, "openai", row, "encrypted_api_key"))
            connection.execute(
                "INSERT INTO vault.client_connections (client_id, id, user_id, service_code, encrypted_api_key)"
                " VALUES (%s, %s, %s, 'openai', %s)",
                (client, row, user, text),
            )
    return value


def fetched(own, number):
    """What n8n gets for a user of `fill`."""
    from otobotctl.vault_api import contract
    from scripts.story.vault import Vault

    user = f"00000000-0000-4000-8000-{number:012d}"
    token = own.deployed["vault-api"]["N8N_NODE_TOKEN"]
    vault = Vault(own.url, own.directory / "log.jsonl", None)
    return vault.ask(contract.credentials_path(user, "openai"), node=token).body["credentials"]["apiKey"]


def test_killed_at_every_boundary_it_goes_on(own, ask, tmp_path):
    """One rotation out of eight killed calls: each goes on, every value has its key all along, one version is new."""
    fill(own, ask)
    before = store(own).values[KEY].reveal()
    assert openable(own) == {1}
    first = None
    for point in ("minted", "migrated", "deployed", "rewrapping", "proved", "retired", "deployed without", "checked"):
        argv = [sys.executable, "-m", "tests.workflows.vault.killed", str(tmp_path), point]
        ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
        assert ran.returncode == -signal.SIGKILL, (point, ran.stdout, ran.stderr)
        assert openable(own), point
        now = store(own)
        first = first or now.values[KEY].reveal()
        assert now.values[KEY].reveal() == first != before, point
        kept = now.values[sealed.previous(KEY)].reveal()
        assert kept == ("" if point in {"retired", "deployed without", "checked"} else before), point
        assert fetched(own, 7) == "key-7", point
    done = ask("rotate-key", SLUG, "--yes", "--json")
    assert done.code == 0, done.err
    assert (done.data["resumed"], done.data["version"]) == (True, 2)
    assert sealed.previous(KEY) not in store(own).values
    assert store(own).values[KEY].reveal() == first
    assert openable(own) == {2}
    assert [fetched(own, number) for number in (0, ROWS - 1)] == ["key-0", f"key-{ROWS - 1}"]
    assert KEY + "_PREVIOUS" not in own.deployed["vault-api"]
    for value in (before, first):
        assert value not in own.argvs + done.out + done.err


def test_a_whole_rotation(own, ask):
    """Asked for first; the story tells how far it is; the next call is a rotation of its own."""
    value = fill(own, ask)
    unasked = ask("rotate-key", SLUG)
    assert (unasked.code, "--yes" in unasked.err) == (2, True)
    done = ask("rotate-key", SLUG, "--yes")
    assert done.code == 0, done.err
    assert f"of {ROWS + 1}" in done.err
    assert f"has master key 2, {ROWS + 1} values were sealed anew" in done.out
    assert fetched(own, 3) == "key-3"
    assert ask("audit", "verify", SLUG).code == 0
    again = ask("rotate-key", SLUG, "--yes", "--json")
    assert (again.data["version"], again.data["resumed"]) == (3, False)
    assert value not in own.argvs


def test_a_vault_with_another_key_than_the_store_is_left_alone(own, ask):
    """Nothing is minted: a store that was put back to an older state must not lose the key that is in use."""
    directory = own.fleet.client(SLUG)
    was = store(own)
    spec = sealed.SecretSpec(KEY, "hex32", "vault-api")
    from datetime import UTC, datetime

    other = was.with_secret(spec, secrets.token_hex(32), datetime.now(UTC))
    sealed.save(directory, other, was.recipients)
    refused = ask("rotate-key", SLUG, "--yes")
    assert refused.code == 1
    assert "does not run with the keys that the sealed store has" in refused.err
    assert sealed.previous(KEY) not in store(own).values
    own.stop()
    (own.directory / "env.json").unlink()
    assert ask("rotate-key", SLUG, "--yes").code == 1
    assert sealed.previous(KEY) not in store(own).values


def test_a_first_deploy_that_fails_leaves_a_vault_that_starts(own, ask, monkeypatch):
    """Another service does not become healthy: the release before starts on the migrated database; later it goes on."""
    fill(own, ask)
    before = {"migrate": own.rendered("vault-migrate") | own.database, "rewrap": own.deployed["vault-api"]}
    whole = converging.deploy

    def failing(*given, **named):
        if sealed.previous(KEY) not in store(own).values:
            return whole(*given, **named)
        own._vault(own.rendered("vault-migrate") | own.database, "migrate")
        raise StepFailedError("n8n does not become healthy", hint="look at its log")

    monkeypatch.setattr(converging, "deploy", failing)
    failed = ask("rotate-key", SLUG, "--yes")
    assert (failed.code, "n8n does not become healthy" in failed.err) == (StepFailedError.exit_code, True)
    own._vault(before["migrate"], "migrate")
    own._vault(before["rewrap"], "rewrap", "--look")
    assert fetched(own, 3) == "key-3"
    monkeypatch.setattr(converging, "deploy", whole)
    done = ask("rotate-key", SLUG, "--yes", "--json")
    assert (done.code, done.data["version"], done.data["resumed"]) == (0, 2, True)
    assert openable(own) == {2}
