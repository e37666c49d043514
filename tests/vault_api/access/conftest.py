"""A whole vault in this process: real PostgreSQL, real endpoints, quick password hashes."""

from __future__ import annotations

import asyncio
import io
import json
import re
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import msgspec
import psycopg
import pytest

from otobotctl.vault_api import contract, logs
from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people
from otobotctl.vault_api.access.passwords import Passwords
from otobotctl.vault_api.configuration import Settings
from otobotctl.vault_api.guard import Guard
from otobotctl.vault_api.routes import ENDPOINTS
from otobotctl.vault_api.routing import application
from otobotctl.vault_api.schema import migrate
from otobotctl.vault_api.vault import Vault
from otobotctl.vault_api.verify import Verifier
from tests.vault_api.conftest import new_environment

PASSWORD = "Correct-Horse-7"
# Every secret that a test of this room has seen; the log of the run is searched for them.
SEEN: set[str] = {PASSWORD}


@dataclass(frozen=True)
class Got:
    """One answer."""

    status: int
    body: Any
    headers: Any


class House:
    """A vault without a socket: `ask` is one request, through the guard and every net behind it."""

    def __init__(self, runner, settings, environment, log):
        self.runner = runner
        self.environment = environment
        self.log = log
        self.vault = self.run(Vault.open(settings))
        self.vault.passwords = Passwords(rounds=4)
        self.app = Guard(application(self.vault, ENDPOINTS))

    def run(self, work):
        return self.runner.run(work)

    def close(self):
        """Verify what the tests left in the audit, then close."""
        key = bytes.fromhex(self.environment["AUDIT_HMAC_KEY"])
        verdict = self.run(Verifier(self.vault.database, key).run())
        self.run(self.vault.close())
        assert verdict.broken == ()
        assert verdict.rows > 0

    def ask(self, method, path, body=None, *, bearer=None, headers=None, address="192.0.2.10"):
        """One request from an address."""
        given = {"host": "vault", **(headers or {})}
        if bearer:
            given["authorization"] = f"Bearer {bearer}"

        async def exchange():
            transport = httpx.ASGITransport(self.app, client=(address, 1234))
            async with httpx.AsyncClient(transport=transport, base_url="http://vault") as client:
                return await client.request(method, path, json=body, headers=given)

        response = self.run(exchange())
        as_documented(method, path.partition("?")[0], response)
        return Got(response.status_code, response.json() if response.content else None, response.headers)

    def operate(self, method, path, body=None):
        """One request as the operator."""
        token = self.environment["VAULT_OPERATOR_TOKEN"]
        named = {contract.OPERATOR_HEADER: token, contract.OPERATOR_NAME_HEADER: "test"}
        return self.ask(method, path, body, headers=named)

    def person(self, role="user", password=PASSWORD):
        """A user with a password of his own; (id, e-mail address)."""
        email = f"{uuid4().hex[:12]}@acme.example"
        made = self.operate("POST", admin.USERS_PATH, {"email": email, "role": role, "name": "Test"})
        assert made.status == 201, made.body
        SEEN.add(made.body["password"])
        renewed = self.ask(
            "POST",
            people.RENEW_PATH,
            {"email": email, "password": made.body["password"], "newPassword": password},
        )
        assert renewed.status == 200, renewed.body
        self.remember(renewed)
        return made.body["user"]["id"], email

    def login(self, email, password=PASSWORD, **more):
        """Log in; the whole answer."""
        got = self.ask("POST", people.LOGIN_PATH, {"email": email, "password": password, **more})
        self.remember(got)
        return got

    def bearer(self, role="user"):
        """The access token of a fresh person."""
        return self.login(self.person(role)[1]).body["token"]

    def remember(self, got):
        """Keep the secrets of an answer for the search of the log."""
        for name in ("token", "refreshToken", "password", "key", "secret", "uri"):
            if isinstance(got.body, dict) and isinstance(got.body.get(name), str):
                SEEN.add(got.body[name])
        if isinstance(got.body, dict):
            SEEN.update(got.body.get("recoveryCodes", ()))

    def rows(self, statement, *parameters):
        """Rows as the runtime role sees them on a connection that knows its client."""
        return self.run(self.vault.database.all(statement, parameters))

    def audit(self, user):
        """(action, outcome) of every entry about a user, oldest first."""
        return self.rows("SELECT access_type, outcome FROM credential_access_logs WHERE user_id = %s ORDER BY id", user)

    def change(self, statement, *parameters):
        """Change rows behind the vault's back, as the owner."""
        e = self.environment
        with psycopg.connect(
            host=e["VAULT_DATABASE_HOST"],
            port=e["VAULT_DATABASE_PORT"],
            dbname=e["VAULT_DATABASE_NAME"],
            user=e["VAULT_OWNER_USER"],
            password=e["VAULT_OWNER_PASSWORD"],
            options="-c search_path=vault",
            autocommit=True,
        ) as connection:
            connection.execute(statement, parameters)

    def no_admin_factor(self):
        """Let administrators in without a second factor."""
        done = self.operate("PATCH", admin.CLIENT_PATH, {"policy": {"adminSecondFactor": False}})
        assert done.status == 200, done.body


ALWAYS = {400, 401, 405, 413, 429, 500, 503}


def as_documented(method, path, response):
    """Every answer of every test is one that its endpoint documents: the status, and the shape of the body."""
    for endpoint in ENDPOINTS:
        if endpoint.method == method and re.fullmatch(re.sub(r"\{[a-z]+\}", "[^/]+", endpoint.path), path):
            shapes = {endpoint.status: endpoint.answer, **endpoint.statuses}
            status = response.status_code
            assert status in shapes or status in ALWAYS, f"{endpoint.name} answered {status}"
            shape = shapes.get(status, contract.Failure)
            if shape is None:
                assert not response.content
            else:
                msgspec.json.decode(response.content, type=shape)
            return


def generous(environment):
    """The same environment with limits that no test meets by accident."""
    return {**environment, "VAULT_PUBLIC_RATE": "1000000/minute"}


@pytest.fixture(scope="module")
def runner():
    """One event loop for the vaults of a module."""
    with asyncio.Runner() as made:
        yield made


@pytest.fixture(scope="module")
def log():
    """Everything that is logged, as the program would write it."""
    stream = io.StringIO()
    logs.start("debug", stream)
    return stream


def opened(runner, environment, log):
    """A vault on the environment's database, migrated."""
    settings = Settings.from_environment(environment, owner=True)
    migrate(settings)
    return House(runner, settings, environment, log)


@pytest.fixture(scope="module")
def house(postgres, runner, log):
    """A vault for the tests of a module; afterwards its log holds no secret that was seen."""
    made = opened(runner, generous(new_environment(postgres)), log)
    yield made
    made.close()
    text = log.getvalue()
    assert text.count("\n") > 0
    for secret in SEEN | {json.dumps(one)[1:-1] for one in SEEN}:
        assert secret not in text
