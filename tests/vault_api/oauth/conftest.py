"""A stub provider, a database of one's own, and a vault opened in the test's own process."""

from __future__ import annotations

import contextlib
import itertools
import re
from datetime import UTC, datetime, timedelta
from uuid import UUID

import psycopg
import pytest

from otobotctl.vault_api import admission, connections, schema
from otobotctl.vault_api.actor import SYSTEM, Access, Actor
from otobotctl.vault_api.configuration import Settings
from otobotctl.vault_api.connections import By, NewConnection
from otobotctl.vault_api.oauth import applications
from otobotctl.vault_api.oauth.requests import Client
from otobotctl.vault_api.vault import Vault
from tests.vault_api.conftest import new_environment

from . import provider

BY = By(SYSTEM, None)
ORIGIN = "https://tools.acme.example"
PUBLIC = "https://vault.acme.example"
_NUMBER = itertools.count(1)


@pytest.fixture
def stub():
    """A provider's state; a test may set it up before anything is asked of it."""
    return provider.Stub()


class Place:
    """A migrated database whose vault knows the stub as the service `stub`."""

    def __init__(self, environment, stub, port, postgres):
        self.environment, self.stub, self.port = environment, stub, port
        self.settings = Settings.from_environment(environment)
        self._postgres = postgres

    @contextlib.asynccontextmanager
    async def opened(self):
        """The vault, in this process."""
        vault = await Vault.open(self.settings)
        try:
            yield vault
        finally:
            await vault.close()

    def database(self):
        """A connection as the superuser, looking into the vault's schema."""
        address = self._postgres.server.address(self.environment["VAULT_DATABASE_NAME"])
        return psycopg.connect(address, autocommit=True, options="-c search_path=vault")

    def admin(self):
        """A connection as the superuser, to another database."""
        return psycopg.connect(self._postgres.server.address(), autocommit=True)

    def ask(self, statement, parameters=()):
        """The rows of one statement, as the superuser."""
        with self.database() as connection:
            found = connection.execute(statement, parameters)
            return found.fetchall() if found.description else []

    async def user(self, vault):
        """A new user."""
        number = next(_NUMBER)
        user = UUID(f"00000000-0000-4000-9000-{number:012d}")
        await vault.database.run(
            "INSERT INTO users (client_id, id, email) VALUES (%s, %s, %s)",
            (await vault.database.client(), user, f"u{number}@acme.example"),
        )
        return user

    async def application(self, vault):
        """The stub's application, made once."""
        found = await applications.find(vault, "stub")
        if found is None:
            client = Client(provider.CLIENT_ID, provider.CLIENT_SECRET)
            await applications.save(vault, "stub", "Acme's", client, BY)
            found = await applications.find(vault, "stub")
        return found

    async def connected(self, vault, *, expires_in_s=-10):
        """A user whose tokens at the stub run out in so many seconds; returns (user, connection)."""
        user, app = await self.user(vault), await self.application(vault)
        access, refresh = self.stub.mint("lea")
        expires_at = datetime.now(UTC) + timedelta(seconds=expires_in_s)
        new = NewConnection(access_token=access, refresh_token=refresh, expires_at=expires_at, app=app.id)
        connection, _ = await connections.save(vault, user, "stub", new, BY, replace=True)
        return user, connection

    def row(self, connection):
        """Status, reason, failures, whether leased, and whether the token is fresh."""
        ((status, reason, failures, leased, fresh),) = self.ask(
            """SELECT status, broken_reason, refresh_failures, lease_until > now(), token_expires_at > now() + '1 minute'
            FROM client_connections WHERE id = %s""",
            (connection,),
        )
        return {"status": status, "reason": reason, "failures": failures, "leased": bool(leased), "fresh": fresh}

    def audit(self, connection):
        """The outcomes of the refreshes in the audit, oldest first."""
        rows = self.ask(
            """SELECT outcome FROM credential_access_logs
            WHERE client_connection_id = %s AND access_type = 'refresh' ORDER BY id""",
            (connection,),
        )
        return [outcome for (outcome,) in rows]

    def at_once(self, connection):
        """Let nothing wait: neither for a delay nor for a lease."""
        self.ask("UPDATE client_connections SET refresh_after = NULL, lease_until = NULL WHERE id = %s", (connection,))


@pytest.fixture(scope="session")
def template(postgres, tmp_path_factory):
    """The environment of a vault on a migrated database that knows the stub; tests get copies of the database."""
    more = tmp_path_factory.mktemp("oauth") / "providers.yaml"
    more.write_text(provider.entry(9))
    environment = {
        **new_environment(postgres),
        "VAULT_PROVIDERS_FILE": str(more),
        "VAULT_OUTBOUND_ALLOW": "127.0.0.1:9",
    }
    schema.migrate(Settings.from_environment(environment))
    return environment


def copied(postgres, template):
    """The environment of a vault on a database of its own, a copy of the template."""
    name = f"oauth_{next(_NUMBER)}"
    with psycopg.connect(postgres.server.address(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template['VAULT_DATABASE_NAME']} OWNER vault_owner")
        connection.execute(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC")
        connection.execute(f"GRANT CONNECT ON DATABASE {name} TO vault_runtime")
    return {**template, "VAULT_DATABASE_NAME": name}


@pytest.fixture
def place(postgres, template, stub, tmp_path):
    """A database of its own and the stub, running."""
    with provider.running(stub) as port:
        more = tmp_path / "providers.yaml"
        more.write_text(provider.entry(port))
        environment = {
            **copied(postgres, template),
            "VAULT_PROVIDERS_FILE": str(more),
            "VAULT_OUTBOUND_ALLOW": f"127.0.0.1:{port}",
            "VAULT_ALLOWED_ORIGINS": ORIGIN,
            "VAULT_PUBLIC_URL": PUBLIC,
            "VAULT_ALERT_WEBHOOK": f"http://127.0.0.1:{port}/alert?key=hook-SECRET",
        }
        yield Place(environment, stub, port, postgres)
        with psycopg.connect(postgres.server.address(), autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {environment['VAULT_DATABASE_NAME']} WITH (FORCE)")


async def by_name(_vault, _endpoint, request):
    """A stand-in for the login: the bearer is the user's id."""
    text = request.headers.get("authorization", "").removeprefix("Bearer ")
    return Actor("user", text, UUID(text)) if re.fullmatch(r"[0-9a-f-]{36}", text) else None


@pytest.fixture
def logins(monkeypatch):
    monkeypatch.setitem(admission.AUTHENTICATORS, Access.USER, (by_name,))
