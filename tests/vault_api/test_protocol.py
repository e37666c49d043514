"""A connection that is answered the short way: what comes meanwhile waits, an end waits for the answer, nobody is read for who left."""

from __future__ import annotations

import asyncio
import gc
from contextlib import contextmanager

import pytest
import uvicorn
from uvicorn.server import ServerState

from otobotctl.vault_api import contract
from otobotctl.vault_api.hot import Hot
from otobotctl.vault_api.protocol import HEAD_BYTES, Bounded
from otobotctl.vault_api.reading import Stored
from otobotctl.vault_api.reads import Found
from tests.vault_api.conftest import USER
from tests.vault_api.test_hot import Reader, head

READ = head(contract.credentials_path(USER, "google"), "x-internal-token: abc")
FOUND = Found(Stored("c", "", "s", None, None, "active", False), "secret", None)


class Transport(asyncio.Transport):
    """Keeps what is written, and knows whether it is read from and open."""

    def __init__(self):
        super().__init__({"peername": ("192.0.2.1", 4711), "sockname": ("192.0.2.2", 3001)})
        self.written, self.reading, self.open = [], True, True

    def write(self, data):
        assert self.open
        self.written.append(data)

    def is_closing(self):
        return not self.open

    def close(self):
        self.open = False

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True


async def plain(scope, _receive, send):
    """The general way, which says that it was that."""
    body = b"general " + scope["path"].encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})


@contextmanager
def connected(limit=512):
    """A connection, its transport, and the vault behind its short way. To be used in an event loop."""
    reader, hot = Reader(left=100), Hot()
    hot.vault = reader
    config = uvicorn.Config(plain, lifespan="off", log_config=None, limit_concurrency=limit, timeout_keep_alive=30)
    config.load()
    connection = Bounded(hot=hot, config=config, server_state=ServerState(), app_state={})
    transport = Transport()
    connection.connection_made(transport)
    try:
        yield connection, transport, reader
    finally:
        connection.connection_lost(None)


async def settle():
    for _ in range(20):
        await asyncio.sleep(0)


def told(reader, number):
    """Answer the read of this number with a refusal; it is made in a task of its own."""
    reader.waiting[number].told(LookupError("no migrations"))


def test_what_comes_meanwhile_waits_its_turn():
    """Two reads and a general request behind a read: asked one after the other, answered in their order."""

    async def run():
        with connected() as (connection, transport, reader):
            connection.data_received(READ)
            connection.data_received(READ[:30])
            connection.data_received(READ[30:] + head("/other"))
            await settle()
            assert (len(reader.asked), transport.written) == (1, [])
            told(reader, 0)
            await settle()
            # What came in one piece with another request goes the general way, behind the first.
            assert len(reader.asked) == 1
            assert b"503" in transport.written[0]
            assert b"".join(transport.written[1:]).count(b"general /") == 2

    asyncio.run(run())


def test_what_stands_in_another_head_is_no_read():
    """A request and the beginning of the next in one piece: what follows belongs to that head, whatever it looks like."""

    async def run():
        with connected() as (connection, transport, reader):
            connection.data_received(head("/one") + head("/two")[:-2] + b"x-note: ")
            await settle()
            connection.data_received(READ)
            await settle()
            assert reader.asked == []
            assert b"".join(transport.written).count(b"general /") == 2

    asyncio.run(run())


def test_a_flood_is_not_kept():
    """Beyond a head's size nothing more is read until the answer is out; then it goes on."""

    async def run():
        with connected() as (connection, transport, reader):
            connection.data_received(READ)
            connection.data_received(READ)
            assert transport.reading
            connection.data_received(b"x" * HEAD_BYTES)
            assert not transport.reading
            told(reader, 0)
            await settle()
            assert transport.reading

    asyncio.run(run())


def test_an_end_waits_for_the_answer():
    """The server stops: an idle connection is closed at once, one that waits when it has its answer."""

    async def run():
        with connected() as (connection, transport, reader):
            connection.data_received(READ)
            connection.shutdown()
            await settle()
            assert transport.open
            told(reader, 0)
            await settle()
            assert not transport.open
            assert len(transport.written) == 1
        with connected() as (connection, transport, _):
            connection.shutdown()
            assert not transport.open

    asyncio.run(run())


def test_who_left_is_dropped():
    """A caller who hangs up: his read is taken from its batch, and no answer is written."""

    async def run():
        with connected() as (connection, transport, reader):
            connection.data_received(READ)
            connection.connection_lost(None)
            assert reader.waiting[0].dropped
            told(reader, 0)
            await settle()
            assert transport.written == []

    asyncio.run(run())


@pytest.mark.parametrize(("data", "limit"), [(READ + READ, 512), (READ, 1)])
def test_what_only_uvicorn_can_answer_is_left_to_it(data, limit):
    """Two requests in one piece; a connection beyond the limit, which uvicorn refuses."""

    async def run():
        with connected(limit) as (connection, transport, reader):
            connection.data_received(data)
            await settle()
            assert reader.asked == []
            answered = b"".join(transport.written)
            assert b"general" in answered if limit > 1 else b"503" in answered

    asyncio.run(run())


def test_an_idle_connection_is_closed_after_a_read():
    """After the answer the idle limit runs as after any other request; another read stops it while it is answered."""

    async def run():
        with connected() as (connection, transport, reader):
            connection.timeout_keep_alive = 1.0  # a loaded machine takes its time until the next read
            connection.data_received(READ)
            told(reader, 0)
            await settle()
            connection.data_received(READ)
            await asyncio.sleep(1.5)
            assert transport.open
            told(reader, 1)
            for _ in range(600):
                await asyncio.sleep(0.1)
                if not transport.open:
                    break
            assert not transport.open

    asyncio.run(run())


def test_a_read_leaves_no_circle_behind():
    """What a read is made of goes with its last reference: a thousand of them leave the garbage collector nothing."""

    async def run():
        with connected() as (connection, _, reader):
            reader.left = 2000
            for number in range(1000):
                connection.data_received(READ)
                reader.waiting[number].told(FOUND)
            reader.waiting.clear()
            return gc.collect()

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(run()) < 100
    finally:
        gc.enable()
