"""The reads' own connection: what is asked is answered once, and a line of which nothing is known is never used again."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
import time
from contextlib import asynccontextmanager

import psycopg
import pytest
from psycopg import pq

from otobotctl.vault_api import contract, line, reading, schema
from otobotctl.vault_api.configuration import Settings
from otobotctl.vault_api.database import Database
from otobotctl.vault_api.line import Line
from scripts.story import embedded
from tests.vault_api import conftest
from tests.vault_api.test_audit import verify

TEXT = (pq.Format.TEXT,)
STATEMENTS = {
    "double": "SELECT 2 * $1::integer",
    "sleep": "SELECT pg_sleep($1::float)",
    "length": "SELECT length($1::text)",
    "pid": "SELECT pg_backend_pid()::text",
    "mine": "SELECT count(*)::text FROM users",
}


@pytest.fixture(scope="module")
def migrated(postgres):
    """The settings of a vault on a migrated database."""
    settings = Settings.from_environment(conftest.new_environment(postgres))
    schema.migrate(settings)
    return settings


@asynccontextmanager
async def lined(settings):
    """An open line."""
    database = Database(settings)
    await database.open()
    try:
        made = await Line.open(database, STATEMENTS)
        try:
            yield made
        finally:
            await made.close()
    finally:
        await database.close()


def test_what_is_asked_is_answered(migrated):
    """Values come binary, one answer after the other; a megabyte goes out whole; a refusal harms nothing."""

    async def run():
        async with lined(migrated) as one:
            for number in range(50):
                answer = await one.ask(b"double", [str(number).encode()], TEXT)
                assert answer.get_value(0, 0) == (2 * number).to_bytes(4, "big")
            size = 3 << 20
            assert (await one.ask(b"length", [b"x" * size], TEXT)).get_value(0, 0) == size.to_bytes(4, "big")
            with pytest.raises(psycopg.DataError) as refused:
                await one.ask(b"double", [b"x"], TEXT)
            assert refused.value.sqlstate == "22P02"
            assert not one.broken
            assert (await one.ask(b"double", [b"4"], TEXT)).get_value(0, 0) == b"\0\0\0\x08"

    asyncio.run(run())


def test_a_line_sees_one_client_only(migrated, postgres):
    """Row-level security holds on it as on the pool's connections: another client's user is not counted."""
    address = postgres.server.address(migrated.database)
    with psycopg.connect(address, autocommit=True, options="-c search_path=vault") as connection:
        (other,) = connection.execute("INSERT INTO clients (slug) VALUES ('other') RETURNING id").fetchone()
        connection.execute(
            "INSERT INTO users (client_id, id, email) VALUES (%s, gen_random_uuid(), 'x@other.example')", (other,)
        )

    async def run():
        async with lined(migrated) as one:
            return (await one.ask(b"mine", [], ())).get_value(0, 0)

    assert asyncio.run(run()) == b"0"


def ended(postgres, pid):
    with psycopg.connect(postgres.server.address(), autocommit=True) as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (int(pid),))


@pytest.mark.parametrize("asked", [b"pid", b"sleep"])
def test_a_session_that_ends_breaks_the_line(migrated, postgres, asked):
    """Between two statements or in the middle of one: an OperationalError, and the line says that it is broken."""

    async def run():
        async with lined(migrated) as one:
            pid = (await one.ask(b"pid", [], ())).get_value(0, 0)
            asking = asyncio.create_task(one.ask(b"sleep", [b"60"], TEXT)) if asked == b"sleep" else None
            await asyncio.sleep(0.1)
            await asyncio.to_thread(ended, postgres, pid)
            with pytest.raises(psycopg.OperationalError):
                await asyncio.wait_for(asking or one.ask(b"sleep", [b"60"], TEXT), 60)
            assert one.broken
            with pytest.raises(psycopg.OperationalError):
                await one.ask(b"pid", [], ())

    asyncio.run(run())


def test_an_answer_that_does_not_come_breaks_the_line(migrated, monkeypatch):
    """A server that is silent for too long is gone; so is the line of whoever stopped waiting: its answer may still come."""

    async def run():
        async with lined(migrated) as one:
            monkeypatch.setattr(line, "ANSWER_S", 0.2)
            with pytest.raises(psycopg.OperationalError):
                await asyncio.wait_for(one.ask(b"sleep", [b"4"], TEXT), 60)
            assert one.broken
            monkeypatch.undo()
        async with lined(migrated) as two:
            asking = asyncio.create_task(two.ask(b"sleep", [b"4"], TEXT))
            await asyncio.sleep(0.1)
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking
            assert two.broken

    asyncio.run(run())


def test_nobody_answers(migrated):
    """A port that nobody listens on: psycopg's error, at once."""

    async def run():
        database = Database(dataclasses.replace(migrated, port=embedded.free_port()))
        with pytest.raises(psycopg.OperationalError):
            await asyncio.wait_for(Line.open(database, STATEMENTS), 60)

    asyncio.run(run())


def test_a_batch_is_looked_up_by_its_keys(migrated, postgres):
    """With a thousand users and no statistics since: the generic plan touches the unique indexes and reads no table."""
    address = postgres.server.address(migrated.database)
    with psycopg.connect(address, autocommit=True, options="-c search_path=vault") as connection:
        connection.execute(
            "INSERT INTO users (client_id, id, email) SELECT c.id, gen_random_uuid(), n || '@acme.example'"
            " FROM clients c, generate_series(1, 1000) AS n WHERE slug = 'acme'"
        )
    schema.migrate(migrated)  # as every start does

    async def run():
        database = Database(migrated)
        await database.open()
        wire = await database.beside(line.OPTIONS)
        try:
            await wire.execute(f"PREPARE look AS {reading.STATEMENTS['look']}".encode())
            client = str(await database.client())
            rows = await wire.execute(f"EXPLAIN EXECUTE look ('{{}}', '{{}}', '{client}')".encode())
            return "\n".join(row[0] for row in await rows.fetchall())
        finally:
            await wire.close()
            await database.close()

    plan = asyncio.run(run())
    assert "users_pkey" in plan
    assert "client_connections_active" in plan
    assert "Seq Scan" not in plan


def test_whatever_breaks_no_read_is_answered_without_its_row(fresh):
    """Eight readers while every session is ended again and again: 200 or 503, each 200 with its audit row, the audit whole."""
    where, stop, got = contract.credentials_path(conftest.USER, "google"), threading.Event(), []

    def read(vault):
        while not stop.is_set():
            answer = vault.ask(where)
            got.append((answer.status, answer.headers["x-request-id"]))

    def served():
        return sum(status == 200 for status, _ in got)

    with fresh.serving(), fresh.database() as connection:
        fresh.ask(contract.user_path(conftest.USER), "PUT", body={"email": "lea@acme.example"})
        assert fresh.ask(where, "PUT", body={"accessToken": "token"}).status == 201
        readers = [threading.Thread(target=read, args=(fresh,)) for _ in range(8)]
        for reader in readers:
            reader.start()
        until = time.monotonic() + 90
        breaks = 0
        while breaks < 15 and time.monotonic() < until:
            seen = served()
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE usename = 'vault_runtime' AND datname = current_database()"
            )
            # Not before somebody was served again: refusals come faster than a session does.
            while served() < seen + 2 and time.monotonic() < until:
                time.sleep(0.01)
            breaks += 1
        stop.set()
        for reader in readers:
            reader.join()
        # A session that the last break ended may still be in the pool: whoever gets it is told to try again.
        while fresh.ask(where).status != 200:
            assert time.monotonic() < until
        rows = connection.execute("SELECT request_id::text FROM credential_access_logs WHERE access_type = 'read'")
        written = {request for (request,) in rows}
    assert {status for status, _ in got} <= {200, 503}
    answered = {request for status, request in got if status == 200}
    assert len(answered) >= breaks
    assert answered <= written
    assert verify(fresh)["broken"] == []
