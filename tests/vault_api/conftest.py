"""A real PostgreSQL for the session; every test that asks for one gets a fresh database in it."""

from __future__ import annotations

import itertools
import secrets
import subprocess
import sys
import tempfile
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psycopg
import pytest

from otobotctl.vault_api import database
from otobotctl.vault_api.configuration import Settings
from scripts.story import embedded, vault
from tests.vault_api.watch import watching

_NUMBER = itertools.count(1)
QUICK = {"PYTHONPATH": str(Path(__file__).with_name("quick"))}  # for a vault's process that hashes many passwords
USER = "7f3c1f1e-6f5e-4a39-9c56-0d8d9b1a2c3d"


@pytest.fixture(scope="session", autouse=True)
def watch(tmp_path_factory):
    """Every vault of this run; at its end no log of theirs may hold a secret that any test gave or got."""
    # Beside what pytest clears away.
    with tempfile.TemporaryDirectory(prefix="otobotctl-watch-", dir=tmp_path_factory.getbasetemp().parent) as kept:
        with watching(Path(kept)) as found:
            yield found
        findings = found.findings()
    assert findings == [], f"of {len(found.secrets)} secrets these were logged: {findings}"


@pytest.fixture(scope="session")
def postgres():
    """A PostgreSQL with the vault's two roles, made as the rendered init.sql makes them."""
    with embedded.running() as server:
        passwords = {role: secrets.token_hex(16) for role in ("vault_owner", "vault_runtime")}
        with psycopg.connect(server.address(), autocommit=True) as connection:
            for role, password in passwords.items():
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        yield SimpleNamespace(server=server, passwords=passwords)


def new_environment(postgres):
    """A fresh database and the environment of a vault on it."""
    name = f"vault_{next(_NUMBER)}"
    with psycopg.connect(postgres.server.address(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} OWNER vault_owner")
        connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        connection.execute(f"GRANT CONNECT ON DATABASE {name} TO vault_runtime")
    return {
        "VAULT_CLIENT": "acme",
        "VAULT_DATABASE_HOST": postgres.server.host,
        "VAULT_DATABASE_PORT": str(postgres.server.port),
        "VAULT_DATABASE_NAME": name,
        "VAULT_OWNER_USER": "vault_owner",
        "VAULT_OWNER_PASSWORD": postgres.passwords["vault_owner"],
        "VAULT_RUNTIME_USER": "vault_runtime",
        "VAULT_RUNTIME_PASSWORD": postgres.passwords["vault_runtime"],
        "ENCRYPTION_MASTER_KEY": secrets.token_hex(32),
        "N8N_INTERNAL_TOKEN": secrets.token_urlsafe(48),
        "N8N_NODE_TOKEN": secrets.token_urlsafe(48),
        "VAULT_EXPOSE_CREDENTIALS": "true",
        "API_JWT_SECRET": secrets.token_urlsafe(48),
        "AUDIT_HMAC_KEY": secrets.token_hex(32),
        "VAULT_OPERATOR_TOKEN": secrets.token_urlsafe(48),
    }


@pytest.fixture
def environment(postgres):
    """The environment of a vault on a database of its own."""
    return new_environment(postgres)


@pytest.fixture
def settings(environment):
    """The same, parsed."""
    return Settings.from_environment(environment)


class Live:
    """A running vault, its environment, and doors into its database."""

    def __init__(self, running, environment, postgres):
        self.vault = running
        self.environment = environment
        self.token = environment["N8N_INTERNAL_TOKEN"]
        self._postgres = postgres

    def ask(self, path, method="GET", *, body=None, token=None):
        return self.vault.ask(path, method, body=body, token=self.token if token is None else token)

    def text(self, path):
        """An answer that is no JSON."""
        with urllib.request.urlopen(self.vault.url + path, timeout=60) as answer:
            return answer.read().decode()

    def database(self, role="superuser"):
        """A connection as the superuser, vault_owner or vault_runtime, looking into the vault's schema."""
        name, server = self.environment["VAULT_DATABASE_NAME"], self._postgres.server
        login = server.address(name)
        if role != "superuser":
            login = f"host={server.host} port={server.port} dbname={name} user={role} password={self._postgres.passwords[role]}"
        return psycopg.connect(login, autocommit=True, options="-c search_path=vault")


class Fresh(Live):
    """A vault on a database of its own, that a test starts and stops as it likes."""

    def __init__(self, environment, postgres, directory):
        super().__init__(None, environment, postgres)
        self._directory = directory

    @contextmanager
    def serving(self):
        with vault.serving(self.environment, self._directory / "log.jsonl") as running:
            self.vault = running
            yield self

    def run(self, *arguments, replace=None, stdin=None, **added):
        argv = [sys.executable, "-m", "otobotctl.vault_api", *arguments]
        environment = (self.environment if replace is None else replace) | added
        return subprocess.run(
            argv, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=300
        )


@pytest.fixture
def fresh(postgres, tmp_path):
    """A vault that is not started yet."""
    return Fresh(new_environment(postgres), postgres, tmp_path)


@pytest.fixture(scope="module")
def live(postgres, tmp_path_factory):
    """A vault in a process of its own, shared by the tests of a module, with one user."""
    environment = new_environment(postgres)
    with vault.serving(environment, tmp_path_factory.mktemp("vault") / "log.jsonl") as running:
        one = Live(running, environment, postgres)
        made = one.ask(f"/api/internal/user/{USER}", "PUT", body={"email": "lea@acme.example", "name": "Léa"})
        assert made.status == 201
        yield one


@pytest.fixture
def user(live):
    """A fresh user of the live vault."""
    number = next(_NUMBER)
    identity = f"00000000-0000-4000-8000-{number:012d}"
    assert live.ask(f"/api/internal/user/{identity}", "PUT", body={"email": f"u{number}@acme.example"}).status == 201
    return identity


@pytest.fixture
def patient(monkeypatch):
    """Vaults that are opened now wait long for a lock: who waits for whom is what their test is about, not for how long."""
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    monkeypatch.setattr(database, "LIMITS", " ".join(f"-c {name}=120s" for name in names))
