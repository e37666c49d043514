"""A client's release: what is in it, and what may not be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from otobotctl.errors import ManifestError
from otobotctl.render.client import published_ports, render_client
from tests.render.sample import EVERYTHING, catalog, composed, rendered, resolved, secrets_of, text


def test_a_client_gets_its_services_and_their_files():
    """Four services make one project, with an environment file for each container."""
    release = rendered(resolved())
    assert release.client == "acme"
    assert release.project == "otobot-acme"
    assert release.services == ("postgres", "postgres-init", "vault-api", "vault-migrate", "token-refresher")
    environments = {file.path for file in release.files if file.path.startswith("env/")}
    assert environments == {f"env/{name}.env" for name in release.services}
    assert [file.path for file in release.files] == sorted(file.path for file in release.files)


def test_the_same_input_gives_the_same_bytes():
    """Two renderings, in processes that hash differently, are equal byte for byte."""
    program = (
        "from tests.render.sample import *; fleet = resolved();"
        "print(rendered(fleet).digest, front(fleet).digest, catalog().images['vault-api'].tag)"
    )
    said = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2", "77")
    }
    assert len(said) == 1
    assert rendered(resolved()).digest.encode() in said.pop()


def test_secrets_are_in_environment_files_of_root_alone():
    """No value is in any other file, and those files are 0600 and marked."""
    release = rendered(resolved())
    values = [secret.reveal().encode() for secret in secrets_of(resolved().client("acme")).values()]
    for file in release.files:
        holds = any(value in file.content for value in values)
        assert file.secret == file.path.startswith("env/")
        assert holds == (file.secret and file.path != "env/postgres.env"), file.path  # postgres-init sets it
        assert file.mode == (0o600 if file.secret else file.mode)
    assert all(any(value in file.content for file in release.files) for value in values)


def test_each_container_gets_only_its_own_secrets():
    """The vault does not know the superuser's password, PostgreSQL does not know the vault's key."""
    release = rendered(resolved())
    assert "postgres_password" not in text(release, "env/vault-api.env")
    assert "encryption_master_key" not in text(release, "env/postgres.env")
    assert "encryption_master_key" not in text(release, "env/postgres-init.env")
    assert "ENCRYPTION_MASTER_KEY=acme-encryption_master_key-VALUE\n" in text(release, "env/vault-api.env")


def test_a_missing_secret_is_named_and_none_is_shown():
    """The error names the secret and the service, and holds no value."""
    fleet = resolved()
    client = fleet.client("acme")
    secrets = secrets_of(client)
    del secrets["API_JWT_SECRET"]
    with pytest.raises(ManifestError, match="no value for secret API_JWT_SECRET, which vault-api needs") as error:
        render_client(client, fleet.host("vps-1"), 0, secrets, catalog())
    assert "VALUE" not in f"{error.value} {error.value.hint}"


def test_every_published_port_is_on_loopback():
    """A client listens on 127.0.0.1 alone: Docker goes around the firewall."""
    services = composed(rendered(resolved()))["services"]
    ports = [port for service in services.values() for port in service.get("ports", ())]
    assert ports == ["127.0.0.1:3001:3001"]
    assert "ports" not in services["postgres"]


def test_clients_of_one_host_never_share_a_port():
    """Over all slots of a host, every published port has one owner and is a port that services may have."""
    client = resolved(lambda document: document["clients"]["acme"].update(environment="dev")).client("acme")
    owners, stack = {}, catalog().stack("client-vps")
    for index in range(100):
        for service in map(catalog().service, stack.services):
            for name, port in published_ports(replace(client, index=index), service, stack).items():
                assert 1024 <= port <= 65535
                assert owners.setdefault(port, (index, service.name, name)) == (index, service.name, name)
    assert owners[3001 + 99 * 100] == (99, "vault-api", "http")
    assert {owner for _, owner, _ in owners.values()} == {*EVERYTHING} - {"token-refresher"}


def test_two_clients_share_nothing_by_name():
    """Projects, aliases and ports of two clients of a host differ."""
    fleet = resolved()
    one, two = composed(rendered(fleet, "acme")), composed(rendered(fleet, "beta"))
    assert one["name"] != two["name"]
    aliases = [tree["services"]["vault-api"]["networks"]["edge"]["aliases"] for tree in (one, two)]
    assert aliases == [["vault-api.acme"], ["vault-api.beta"]]
    assert two["services"]["vault-api"]["ports"] == ["127.0.0.1:3101:3001"]


def test_every_container_is_hardened():
    """No container keeps capabilities that it was not given, gains privileges, or fills the disk with logs."""
    for name, tree in composed(rendered(resolved()))["services"].items():
        assert tree["cap_drop"] == ["ALL"], name
        assert tree["security_opt"] == ["no-new-privileges:true"], name
        assert tree["logging"]["options"] == {"max-size": "10m", "max-file": "5"}, name
        assert "mem_limit" in tree, name
        assert tree["image"].rpartition(":")[2] not in ("", "latest"), name
    vault = composed(rendered(resolved()))["services"]["vault-api"]
    assert vault["read_only"] is True
    assert "cap_add" not in vault
    assert vault["pull_policy"] == "never"


def test_databases_reach_nothing_outside():
    """PostgreSQL is on the internal network alone; the vault is on both."""
    tree = composed(rendered(resolved()))
    assert tree["networks"] == {"data": {"internal": True}, "edge": {}}
    assert list(tree["services"]["postgres"]["networks"]) == ["data"]
    assert list(tree["services"]["vault-api"]["networks"]) == ["data", "edge"]


def test_only_containers_whose_files_changed_get_another_label():
    """A new log level recreates the vault; the database keeps running."""
    before = composed(rendered(resolved()))["services"]
    changed = resolved(
        lambda document: document["clients"]["acme"].update(settings={"vault-api": {"log_level": "debug"}})
    )
    after = composed(rendered(changed))["services"]
    differing = {name for name in before if before[name]["labels"] != after[name]["labels"]}
    assert differing == {"vault-api", "vault-migrate"}
    assert {name for name in before if before[name] != after[name]} == differing


def test_environments_differ_as_the_stack_says_and_the_manifest_wins():
    """Dev is more talkative; what the manifest says goes before it."""
    dev = resolved(lambda document: document["clients"]["acme"].update(environment="dev"))
    assert "VAULT_LOG_LEVEL=debug" in text(rendered(dev), "env/vault-api.env")
    assert "VAULT_LOG_LEVEL=info" in text(rendered(resolved()), "env/vault-api.env")
    both = resolved(
        lambda document: document["clients"]["acme"].update(
            environment="dev", settings={"vault-api": {"log_level": "error"}}
        )
    )
    assert "VAULT_LOG_LEVEL=error" in text(rendered(both), "env/vault-api.env")


def test_versions_and_memory_are_settings():
    """A client can stay on another version, and have more memory."""
    fleet = resolved(
        lambda document: document["clients"]["acme"].update(settings={"postgres": {"version": "16.4", "memory": "2g"}})
    )
    services = composed(rendered(fleet))["services"]
    assert services["postgres"]["image"] == services["postgres-init"]["image"] == "postgres:16.4"
    assert services["postgres"]["mem_limit"] == "2g"


def test_databases_are_made_idempotently_without_a_password_in_sight():
    """Roles and databases are created when missing; passwords come from the environment."""
    sql = text(rendered(resolved()), "postgres/init.sql")
    assert "SELECT 'CREATE DATABASE otobot_frontend OWNER vault_owner'\n  WHERE NOT EXISTS" in sql
    assert "ALTER ROLE vault_runtime NOSUPERUSER NOCREATEDB NOCREATEROLE" in sql
    assert r"\getenv password PASSWORD_VAULT_RUNTIME" in sql
    assert "GRANT CONNECT ON DATABASE otobot_frontend TO vault_runtime;" in sql
    assert "PASSWORD_VAULT_RUNTIME=acme-vault_runtime_password-VALUE" in text(
        rendered(resolved()), "env/postgres-init.env"
    )


def test_a_database_alone_has_nothing_to_initialise():
    """Without a service that wants a database there is no one-shot container, which nobody would wait for."""
    fleet = resolved(lambda document: document["clients"]["acme"].update(services=["postgres"]))
    assert rendered(fleet).services == ("postgres",)


def test_a_service_without_what_it_requires_is_refused():
    """The error says which services are missing."""
    fleet = resolved(lambda document: document["clients"]["acme"].update(services=["token-refresher", "nginx"]))
    with pytest.raises(ManifestError, match=r"clients\.acme\.services: token-refresher requires vault-api"):
        rendered(fleet)


def test_a_client_of_the_proxys_name_is_refused():
    """The proxy's project and directory are its own."""
    fleet = resolved(lambda document: document["clients"].update(front=document["clients"].pop("acme")))
    with pytest.raises(ManifestError, match="name of a host's proxy"):
        rendered(fleet, "front")


def test_a_client_with_the_proxy_alone_is_refused():
    """There would be nothing to run, and no network for the proxy to join."""
    fleet = resolved(lambda document: document["clients"]["acme"].update(services=["nginx"]))
    with pytest.raises(ManifestError, match="nothing runs for this client alone"):
        rendered(fleet)
