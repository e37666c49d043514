"""A real n8n of each release with a real PostgreSQL and a real vault, shared by the tests of this folder."""

from __future__ import annotations

import secrets
import subprocess
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from scripts.story import vault
from tests.lab.fixtures import unavailable
from tests.n8n import client, install, package, real, stubs
from tests.n8n.queue import worker
from tests.render.test_services import environment as rendered_environment
from tests.render.test_services import fleet_with, rendered
from tests.vault_api.conftest import Live, new_environment, postgres, watch

__all__ = ["postgres", "watch"]

# The most that n8n can keep.
SAVING = {
    "EXECUTIONS_DATA_SAVE_ON_SUCCESS": "all",
    "EXECUTIONS_DATA_SAVE_ON_ERROR": "all",
    "EXECUTIONS_DATA_SAVE_ON_PROGRESS": "true",
    "EXECUTIONS_DATA_SAVE_MANUAL_EXECUTIONS": "true",
    "N8N_LOG_LEVEL": "debug",
    "N8N_LOG_OUTPUT": "console,file",
}

# As a deploy sets it.
GUARDED = {
    name: said.strip("'")
    for name, said in rendered_environment(rendered(fleet_with()), "n8n").items()
    if name in {"N8N_BLOCK_ENV_ACCESS_IN_NODE", "N8N_RESTRICT_FILE_ACCESS_TO", "NODES_EXCLUDE"}
}


def pytest_collection_modifyitems(items):
    for item in items:
        if "tree" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.timeout(1800))  # the first one lets npm download


@pytest.fixture(scope="module")
def version():
    """Which n8n; a module may have another."""
    return install.NEWEST


@pytest.fixture(scope="module")
def tree(version):
    """That n8n as it comes from npm."""
    if reason := install.missing():
        unavailable(reason)
    return install.install(version)


@pytest.fixture(scope="package")
def third_party(tmp_path_factory):
    """A service that answers over https, and the authority to trust for it."""
    with stubs.third_party(tmp_path_factory.mktemp("third-party")) as served:
        yield served


@pytest.fixture(scope="module")
def queue():
    """The Redis of a queue; a module may have one, and then a worker too."""
    return


@pytest.fixture(scope="package")
def live(postgres, tmp_path_factory):
    """The vault that all of them ask."""
    environment = new_environment(postgres)
    with vault.serving(environment, tmp_path_factory.mktemp("vault") / "log.jsonl") as running:
        yield Live(running, environment, postgres)


@pytest.fixture(scope="package")
def shared(postgres, third_party, vault_at, live, tmp_path_factory):
    """Give the n8n of a release: it is started for the first who asks, and stopped after the last test of this folder."""
    with ExitStack() as stack:
        running = {}

        def of(tree):
            if tree not in running:
                one = _running(tree, postgres, third_party, vault_at, live, None, tmp_path_factory)
                running[tree] = stack.enter_context(one)
            return running[tree]

        yield of


@pytest.fixture(scope="module")
def n8n(tree, queue, shared, postgres, third_party, vault_at, live, tmp_path_factory):
    """n8n with the package installed as a deploy installs it, and every save setting on."""
    if queue is None:
        yield shared(tree)
    else:
        with _running(tree, postgres, third_party, vault_at, live, queue, tmp_path_factory) as running:
            yield running


@contextmanager
def _running(tree, postgres, third_party, vault_at, live, queue, tmp_path_factory):
    name, password = real.own_database(postgres.server)
    folder = tmp_path_factory.mktemp("n8n")
    package.place(tree / "bin/node", folder)
    settings = {
        **real.database_settings(postgres.server, name, password),
        **SAVING,
        "N8N_ENCRYPTION_KEY": secrets.token_hex(32),
        "OTOBOT_VAULT_URL": vault_at.url,
        "OTOBOT_NODE_TOKEN": live.environment["N8N_NODE_TOKEN"],
        **GUARDED,
        "NODE_EXTRA_CA_CERTS": str(third_party[1]),
        **(queue.settings() if queue else {}),
    }
    with real.serving(tree, folder, settings) as running, ExitStack() as stack:
        running.dump = lambda: _dump(postgres.server, name)
        running.rows = lambda sql: _rows(postgres.server, name, sql)
        running.more = queue.files if queue else dict
        if queue:
            stack.enter_context(worker(tree, folder, settings))
        yield running


def _dump(server, name) -> bytes:
    """The whole database, as pg_dump writes it."""
    argv = [server.binaries / "pg_dump", "--inserts", server.address(name)]
    return subprocess.run(argv, capture_output=True, timeout=300, check=True).stdout


def _rows(server, name, sql):
    with psycopg.connect(server.address(name), autocommit=True) as connection:
        return connection.execute(sql).fetchall()


@dataclass
class World:
    """A user of the vault with a token for notion, whose API is the third party, and n8n's credential for the vault."""

    n8n: Any
    door: stubs.VaultDoor
    service: stubs.ThirdParty
    live: Any
    user: str
    token: str
    login: dict[str, Any]
    connection: str

    def node(self, operation, *, login=None, on_error=None, **parameters):
        """The vault's node."""
        given = {"operation": operation, "userId": self.user, "service": "notion", **parameters}
        extra = {"onError": on_error} if on_error else {}
        return {
            "name": "Vault", "type": package.TYPE, "typeVersion": 1,
            "parameters": given, "credentials": login or self.login, **extra,
        }  # fmt: skip

    def run(self, operation, *before, **more):
        """One click on Execute for the node behind a manual trigger."""
        return self.n8n.run(client.trigger(), *before, self.node(operation, **more))

    def call(self, path, **more):
        """The same for Call Service API."""
        return self.run("callServiceApi", url=f"{self.service.url}{path}", **more)

    def credential(self, **other):
        """What n8n stores to reach the vault."""
        given = {"clientId": "acme", "apiUrl": self.door.url, "internalToken": self.live.token, **other}
        return self.n8n.credential(package.LOGIN, given)


@pytest.fixture(scope="package")
def vault_at(live, third_party):
    """The door to the vault, which says that notion's API is at the third party too."""
    with stubs.vault_door() as door:
        door.vault = live.vault.url
        door.hosts = {"notion": [third_party[0].host]}
        yield door


@pytest.fixture
def world(n8n, vault_at, third_party, live):
    """A fresh user with a fresh token."""
    user = f"00000000-0000-4000-8000-{secrets.token_hex(6)}"
    # Signs that every encoding writes in another way.
    token = f"ntn_{secrets.token_hex(12)}+/={secrets.token_hex(4)}~*~"
    assert live.ask(f"/api/internal/user/{user}", "PUT", body={"email": f"{user}@acme.example"}).status == 201
    body = {"accessToken": token, "accountIdentifier": "ACME's workspace"}
    stored = live.ask(f"/api/internal/user/{user}/credentials/notion", "PUT", body=body)
    assert stored.status == 201
    third_party[0].asked.clear()
    made = World(n8n, vault_at, third_party[0], live, user, token, {}, stored.body["connectionId"])
    made.login = made.credential()
    yield made
    vault_at.faults.clear()
    vault_at.slow_s = 0
