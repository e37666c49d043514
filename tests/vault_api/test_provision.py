"""What a deploy stores for the client itself, in a real vault: once, again, another key, none any more."""

from __future__ import annotations

import hashlib
import json

import pytest

from otobotctl.vault_api import contract

URL = "https://ia.otobot.example/v1"
GONE = {"kind": "no connection", "id": "ia-interne", "name": "connection IA Interne, revoked"}


def connection(key):
    return {"kind": "connection", "id": "ia-interne", "name": "connection IA Interne", "url": URL, "apiKey": key}


def stamped(item):
    """An item with its digest, as a deploy sends it."""
    return {**item, "digest": hashlib.sha256(json.dumps(item, sort_keys=True).encode()).hexdigest()[:32]}


@pytest.fixture
def vault(fresh):
    """A vault that lets no workflow have credentials, and knows where IA Interne is."""
    fresh.environment |= {"VAULT_EXPOSE_CREDENTIALS": "false", "VAULT_API_HOSTS": "ia-interne=ia.otobot.example"}
    with fresh.serving():
        yield fresh


def program(vault, *words, stdin=""):
    """Run the vault's program beside it, as a deploy runs it in its container."""
    port = vault.vault.url.rpartition(":")[2]
    return vault.run("provision", *words, "--port", port, stdin=stdin)


def check(vault, item):
    """How the item is. Only its name, kind, id and digest are told."""
    told = {key: stamped(item)[key] for key in ("name", "kind", "id", "digest")}
    return json.loads(program(vault, "check", json.dumps([told])).stdout)["items"][item["name"]]


def apply(vault, item):
    """What it says it did."""
    done = program(vault, "apply", stdin=json.dumps([stamped(item)]))
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[:1]


def held(vault):
    """What n8n's own node gets for the client itself."""
    path = contract.credentials_path(contract.OWN_USER, "ia-interne")
    return vault.vault.ask(path, node=vault.environment["N8N_NODE_TOKEN"]).body


def written(vault):
    """How often a connection was stored or ended, by the audit."""
    with vault.database() as database:
        sql = "SELECT count(*) FROM credential_access_logs WHERE access_type IN ('store', 'disconnect')"
        return database.execute(sql).fetchone()[0]


def test_a_key_is_stored_once_replaced_by_another_and_removed(vault):
    """Nothing is written that is there already; the former key is gone, and in the end so is the connection."""
    first, second = connection("first-key-of-ia"), connection("second-key-of-ia")
    assert check(vault, first) == "absent"
    assert apply(vault, first) == ["stored"]
    assert check(vault, first) == "ready"
    before = written(vault)
    assert apply(vault, first) == []
    assert written(vault) == before
    assert held(vault)["credentials"] == {"apiKey": "first-key-of-ia"}
    assert check(vault, second) == "stale"
    assert apply(vault, second) == ["replaced"]
    assert held(vault)["credentials"] == {"apiKey": "second-key-of-ia"}
    assert held(vault)["metadata"]["accountIdentifier"].startswith(URL + " ")
    assert check(vault, GONE) == "stale"
    assert apply(vault, GONE) == ["removed"]
    assert check(vault, GONE) == "ready"
    assert apply(vault, GONE) == []
    assert check(vault, first) == "absent"


def test_what_was_stored_over_it_is_put_right_and_nobodys_account_stays(vault):
    """The store's word counts; the account cannot be erased or switched off, which would stop every later deploy."""
    ours, path = connection("ours-key-of-ia"), contract.credentials_path(contract.OWN_USER, "ia-interne")
    apply(vault, ours)
    assert vault.ask(path, "PUT", body={"apiKey": "typed-by-hand"}).status == 200
    assert check(vault, ours) == "stale"
    assert apply(vault, ours) == ["replaced"]
    assert held(vault)["credentials"] == {"apiKey": "ours-key-of-ia"}
    user = f"/api/admin/users/{contract.OWN_USER}"
    asked = [{"method": "DELETE", "path": user}, {"method": "PATCH", "path": user, "body": {"isActive": False}}]
    port = vault.vault.url.rpartition(":")[2]
    said = vault.run("call", "--operator", "test", "--port", port, stdin=json.dumps(asked)).stdout
    assert [json.loads(line)["status"] for line in said.splitlines()] == [409, 409]
    assert check(vault, ours) == "ready"


def test_killed_between_its_two_requests_the_next_run_ends_it(vault):
    """The account is there and the connection is not."""
    holder = {"email": contract.OWN_EMAIL, "name": "Otobot"}
    assert vault.ask(contract.user_path(contract.OWN_USER), "PUT", body=holder).status == 201
    item = connection("key-after-a-kill")
    assert check(vault, item) == "absent"
    assert apply(vault, item) == ["stored"]
    assert check(vault, item) == "ready"


def test_its_host_is_the_one_that_the_deploy_named(vault):
    """n8n's node sends the key there and nowhere else; other services keep their own hosts."""
    hosts = {each["code"]: each["apiHosts"] for each in vault.ask("/api/internal/services").body["services"]}
    assert hosts["ia-interne"] == ["ia.otobot.example"]
    assert hosts["openai"] == ["api.openai.com"]


@pytest.mark.parametrize("said", ["ia-interne", "nobody=ia.otobot.example", "ia-interne=https://ia.otobot.example"])
def test_a_wrong_host_stops_the_start_and_names_the_variable(fresh, said):
    """No token would go where somebody mistyped."""
    done = fresh.run("migrate", VAULT_API_HOSTS=said)
    assert done.returncode != 0
    assert "VAULT_API_HOSTS" in done.stdout + done.stderr


def test_a_vault_that_is_away_is_told_in_one_line(fresh):
    """Nothing of the items is in it."""
    done = fresh.run("provision", "apply", "--port", "9", stdin=json.dumps([stamped(connection("key-for-nobody"))]))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines() == ["the vault does not answer on port 9: ConnectionRefusedError"]
