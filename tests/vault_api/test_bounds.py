"""What bounds a vault: uses of a key, statements, connections, bodies that do not come; and what is no attack."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import socket
import threading
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from starlette.requests import ClientDisconnect

from otobotctl.vault_api import contract, guard, keys, routing
from otobotctl.vault_api.configuration import Settings
from otobotctl.vault_api.crypto import ALLOWANCE, Keyring, Place, SealError
from otobotctl.vault_api.database import Database
from otobotctl.vault_api.schema import migrate
from otobotctl.vault_api.vault import Vault
from scripts.story import vault as program
from tests.vault_api.conftest import new_environment
from tests.waiting import until

PLACE = Place("acme", "", "", "row", "field")
TABLES = {
    "clients", "users", "services", "client_connections", "oauth_applications", "curation_sources",
    "credential_access_logs", "client_sessions", "user_permissions", "encryption_keys", "api_keys", "oauth_states",
    "workflows",
}  # fmt: skip


# ------------------------------------------------------------------ keys


def test_a_key_seals_no_more_than_was_counted():
    """Each seal uses one; without any left it refuses instead of repeating a nonce one day."""
    ring = Keyring({1: b"k" * 32}, 1, allowance=2)
    for _ in range(2):
        ring.seal("x", PLACE)
    with pytest.raises(SealError, match="rotate ENCRYPTION_MASTER_KEY"):
        ring.seal("x", PLACE)


def test_uses_are_counted_ahead_and_end_far_below_the_limit_of_nist(environment):
    """What is allowed is in the database first; at 2^31, half of what SP 800-38D has, the vault says so and seals nothing."""
    settings = Settings.from_environment(environment, owner=True)
    migrate(settings)
    assert keys.MOST_USES * 2 == 2**32

    async def test():
        vault = await Vault.open(settings)
        try:
            client = await vault.database.client()
            assert await vault.database.one("SELECT uses FROM encryption_keys WHERE client_id = %s", (client,)) == (
                ALLOWANCE,
            )
            assert vault.keyring.allowance == ALLOWANCE
            await vault.database.run(
                "UPDATE encryption_keys SET uses = %s WHERE client_id = %s", (keys.MOST_USES - 1, client)
            )
            vault.keyring.allowance = 0
            await keys.count(vault.database, vault.keyring)
            assert vault.keyring.allowance == 0
            with pytest.raises(SealError):
                vault.keyring.seal("x", PLACE)
        finally:
            await vault.close()

    asyncio.run(test())


# ------------------------------------------------------------------ the database


def test_every_table_is_there_and_each_clients_one_is_behind_the_second_wall(live):
    """The tables of the platform's documents and the view; every one with a client's rows has row-level security on."""
    with live.database() as connection:
        rows = connection.execute(
            "SELECT c.relname, c.relrowsecurity, EXISTS (SELECT FROM pg_attribute a"
            " WHERE a.attrelid = c.oid AND a.attname = 'client_id' AND NOT a.attisdropped)"
            " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'vault' AND c.relkind = 'r'"
        ).fetchall()
        assert {name for name, _, _ in rows} >= TABLES
        assert [name for name, secured, of_client in rows if of_client and not secured] == []
        assert {"clients": True}.items() <= {name: secured for name, secured, _ in rows}.items()
        assert connection.execute("SELECT connections, expired, broken FROM v_user_dashboard").fetchall()


def test_no_statement_and_no_lock_is_waited_for_without_end(environment):
    """The runtime's connections give up after seconds: a statement, a lock, a transaction that nobody ends."""
    settings = Settings.from_environment(environment, owner=True)
    migrate(settings)

    async def test():
        vault = await Vault.open(settings)
        try:
            limits = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
            found = [await vault.database.one("SELECT current_setting(%s)", (name,)) for name in limits]
            assert found == [("5s",), ("3s",), ("10s",)]
            with pytest.raises(psycopg.errors.QueryCanceled):
                await vault.database.one("SELECT pg_sleep(60)")
        finally:
            await vault.close()

    asyncio.run(test())


# ------------------------------------------------------------------ the line


def test_a_loop_over_a_hundred_and_one_items_is_no_attack(live, user):
    """N8n's reads are not under the limit of strangers, which is a hundred in a quarter of an hour."""
    assert live.ask(contract.credentials_path(user, "google"), "PUT", body={"accessToken": "a" * 20}).status == 201
    statuses = {live.ask(contract.credentials_path(user, "google")).status for _ in range(101)}
    assert statuses == {200}


def test_a_body_that_does_not_come_is_not_waited_for(monkeypatch):
    """503 when the time of a request is over; the application is told to stop."""
    monkeypatch.setattr(guard, "REQUEST_LIMIT_S", 0.05)
    sent = []

    async def never():
        await asyncio.Event().wait()

    async def application(_scope, receive, _send):
        await receive()

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "headers": [(b"content-length", b"10")], "client": ("192.0.2.1", 1)}
    asyncio.run(guard.Guard(application)(scope, never, send))
    assert sent[0]["status"] == 503
    assert json.loads(sent[1]["body"])["code"] == "unavailable"


def test_connections_are_capped_and_the_vault_answers_again(live):
    """More than five hundred at once: the next is refused; when they are gone, all is well."""
    place = urlsplit(live.vault.url)
    with contextlib.ExitStack() as held:
        for _ in range(520):
            held.enter_context(socket.create_connection((place.hostname, place.port), timeout=60))
        until(lambda: status(place) == 503, "a refusal")
    until(lambda: status(place) == 200, "the vault")


def status(place):
    connection = http.client.HTTPConnection(place.netloc, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", contract.HEALTH_PATH)
        return connection.getresponse().status


def test_what_has_begun_is_finished_before_the_end(postgres, tmp_path):
    """SIGTERM while a request waits for the database: it is answered, its row is there, and the exit is 0."""
    environment, user = new_environment(postgres), str(uuid4())
    name, answers = environment["VAULT_DATABASE_NAME"], []
    with (
        program.serving(environment, tmp_path / "log") as running,
        psycopg.connect(postgres.server.address(name)) as locking,
    ):
        token = environment["N8N_INTERNAL_TOKEN"]
        locking.execute("LOCK TABLE vault.users IN ACCESS EXCLUSIVE MODE")
        body = {"email": "late@acme.example"}
        asking = threading.Thread(
            target=lambda: answers.append(running.ask(contract.user_path(user), "PUT", token=token, body=body))
        )
        asking.start()
        _until_waiting(postgres, name)
        running.process.terminate()
        locking.rollback()
        asking.join(60)
        assert running.process.wait(60) == 0
        assert [answer.status for answer in answers] == [201]
        found = locking.execute("SELECT email FROM vault.users WHERE id = %s", (user,)).fetchone()
        assert found == ("late@acme.example",)


def _until_waiting(postgres, name):
    waiting = "SELECT FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"
    with psycopg.connect(postgres.server.address(), autocommit=True) as looking:
        until(lambda: looking.execute(waiting, (name,)).rowcount, "a statement that waits for the lock")


def test_who_hangs_up_within_a_body_is_no_defect_of_ours(caplog):
    """Nothing of it is logged as one, and no answer of 500 is counted."""
    with caplog.at_level("INFO", logger="vault"):
        assert routing.refusal(ClientDisconnect(), "request").status == 400
    assert caplog.records == []


def test_a_database_that_vanished_is_noticed(settings):
    """Its connections ask after it and give up within half a minute: the refresher has no caller with a limit."""
    migrate(settings)

    async def run():
        database = Database(settings)
        connection = await database.beside("")
        try:
            with socket.socket(fileno=os.dup(connection.fileno())) as line:
                return [line.getsockopt(socket.IPPROTO_TCP, getattr(socket, name)) for name in wanted]
        finally:
            await connection.close()

    wanted = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 25_000}
    assert asyncio.run(run()) == list(wanted.values())
