"""What a host is held against, worked out by rendering with made-up secrets."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otobotctl.doctor.checks import certificates
from otobotctl.doctor.model import Case
from otobotctl.doctor.wanted import wanted
from tests.doctor.sample import fleet
from tests.render import sample


def everything():
    """A client with every service, n8n in queue mode."""

    def change(document):
        del document["clients"]["beta"]
        document["clients"]["acme"].update(
            company="ACME", services=[*sample.EVERYTHING, "nginx"], settings={"n8n": {"mode": "queue"}}
        )

    return sample.resolved(change, sample.catalog().archives())


@pytest.fixture(scope="module")
def held():
    manifest = everything()
    return wanted(manifest.host("vps-1"), manifest.clients_of("vps-1"), sample.catalog())


def test_every_role_logs_in_with_the_variable_of_its_own_service(held):
    """Of each engine, also where the password is part of an address; an init, which has all of them, is left out."""
    found = {(login.holder, login.variable): (login.engine, login.role, login.database) for login in held.logins}
    assert found["vault-api", "VAULT_RUNTIME_PASSWORD"] == ("postgres", "vault_runtime", "otobot_frontend")
    assert found["vault-migrate", "VAULT_OWNER_PASSWORD"] == ("postgres", "vault_owner", "otobot_frontend")
    assert found["n8n", "DB_POSTGRESDB_PASSWORD"] == ("postgres", "n8n_owner", "otobot_n8n")
    assert found["tooljet", "PG_PASS"] == ("postgres", "tooljet_owner", "otobot_tooljet")
    assert found["librechat", "MONGO_URI"] == ("mongo", "librechat_owner", "librechat")
    assert found["n8n", "QUEUE_BULL_REDIS_PASSWORD"][0] == "redis"
    assert found["mongo", "MONGO_INITDB_ROOT_PASSWORD"] == ("mongo", "otobot_admin", "admin")
    assert not [holder for holder, _ in found if holder.endswith("-init")]


def test_logins_that_take_turns_are_read_from_the_service(held):
    """The variable that has the role's name is known; where it is part of an address, the address has it."""
    users = {(login.holder, login.variable): login.user for login in held.logins}
    assert users["tooljet", "PG_PASS"] == "PG_USER"
    assert users["n8n", "DB_POSTGRESDB_PASSWORD"] == "DB_POSTGRESDB_USER"
    assert users["vault-api", "VAULT_RUNTIME_PASSWORD"] == "VAULT_RUNTIME_USER"


def test_secrets_and_settings_of_each_variable(held):
    """A secret has its kind, a setting none; what may be empty is not asked to be filled."""
    vault = held.variables["acme"]["vault-api"]
    assert (vault["ENCRYPTION_MASTER_KEY"].kind, vault["N8N_INTERNAL_TOKEN"].kind) == ("hex32", "base64url48")
    assert (vault["VAULT_CLIENT"].kind, vault["VAULT_CLIENT"].filled) == ("", True)
    assert vault["VAULT_ALERT_WEBHOOK"].filled is False
    assert held.variables["acme"]["librechat"]["MONGO_URI"].kind == ""


def test_no_key_is_needed_and_no_store_is_read(tmp_path, monkeypatch):
    """There is not even a fleet on disk."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    manifest = fleet()
    one = wanted(manifest.host("vps-1"), manifest.clients_of("vps-1"), sample.catalog())
    two = wanted(manifest.host("vps-1"), manifest.clients_of("vps-1"), sample.catalog())
    assert one == two  # nothing of the made-up values is in it
    assert replace(one, logins=()) != one


def test_the_login_whose_turn_it_is_must_work():
    """After a rotation the other one of a role's two logins has the password; no other login changes."""
    manifest = fleet()
    asked = (manifest.host("vps-1"), manifest.clients_of("vps-1"), sample.catalog())
    first, second = wanted(*asked).logins, wanted(*asked, {"acme": {"N8N_DB_PASSWORD": 1}}).logins
    changed = {(a.role, b.role) for a, b in zip(first, second, strict=True) if a != b}
    assert changed == {("n8n_owner", "n8n_owner_2")}


def test_a_gpu_hosts_own_name_is_looked_at_and_a_client_beside_it_too():
    """Certificates, DNS and TLS of IA Interne are the host's; what is late is asked for by its own Caddy."""
    gpu = {"domain": "ia.example", "email": "it@ia.example", "callers": {"acme": {}}, "models": ["tiny:1b"]}

    def change(document):
        document["hosts"]["gpu-1"] = {"address": "203.0.113.20", "stack": "gpu", "gpu": gpu}
        document["clients"]["acme"].update(host="gpu-1", services=["mongo", "librechat"])

    manifest = sample.resolved(change)
    host, clients = manifest.host("gpu-1"), manifest.clients_of("gpu-1")
    case = Case(host, clients, sample.catalog(), wanted(host, clients, sample.catalog()), 0.0)
    assert list(case.served()) == [
        ("acme", "acme", ("acme.example", "chat.acme.example")),
        ("gpu-1", "acme", ("ia.example",)),
    ]
    assert case.renewal == "otobotctl host apply gpu-1"
    shown = {
        "issuer": "Caddy Local Authority - ECC Intermediate",
        "self_signed": False,
        "not_before": 0,
        "not_after": 9e9,
    }
    found = [*certificates.judge(replace(case, facts={"certificates": {"ia.example": shown}}))]
    assert [(each.subject, each.remedy) for each in found] == [("gpu-1", "otobotctl host apply gpu-1")]
