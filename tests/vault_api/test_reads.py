"""The batch's own promises, without a database: nobody waits for ever, and one failure is not everybody's."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from uuid import uuid4

import psycopg
import pytest

from otobotctl.vault_api.actor import INTERNAL
from otobotctl.vault_api.chain import Link
from otobotctl.vault_api.crypto import Keyring
from otobotctl.vault_api.errors import Problem
from otobotctl.vault_api.line import Line
from otobotctl.vault_api.reading import _ids, _texts
from otobotctl.vault_api.reads import BATCH, WAITING, Asked, Reads
from tests.vault_api.conftest import USER


class Base:
    """A database, its line and the audit's chain: a statement does what a test says, an answer or an exception."""

    def __init__(self, *behaviours):
        self.behaviours = list(behaviours)
        self.sizes = []
        self.opened = 0
        self.broken = False
        self.client = uuid4()
        self.begun, self.go = asyncio.Event(), asyncio.Event()
        self.go.set()

    @asynccontextmanager
    async def turn(self, _line):
        yield Link(b"k" * 32, self.client, uuid4(), 0, b"")

    async def ask(self, statement, parameters, _formats):
        if statement == b"record":
            self.sizes.append(-len(parameters[4]) // 32)
            return self
        self.sizes.append(parameters[0].count(b",") + 1)
        self.begun.set()
        await self.go.wait()
        behaviour = self.behaviours.pop(0) if self.behaviours else None
        if isinstance(behaviour, BaseException):
            self.broken = isinstance(behaviour, psycopg.OperationalError)
            raise behaviour
        return self

    ntuples = 0
    get_value = None

    async def close(self):
        self.broken = True


@pytest.fixture(autouse=True)
def lines(monkeypatch):
    """Opening a line to a `Base` opens none; a broken one is whole again."""

    async def opened(base, statements):
        assert set(statements) == {"look", "record"}
        base.opened += 1
        base.broken = False
        return base

    monkeypatch.setattr(Line, "open", opened)


def asked(number=0):
    return Asked(str(uuid4()), "google", str(uuid4()), INTERNAL)


async def reading(base, count):
    """`count` reads at once; their answers or exceptions."""
    reads = Reads(base, Keyring({1: b"k" * 32}, 1), base, "acme")
    reads.start()
    try:
        return await asyncio.wait_for(
            asyncio.gather(*[reads.read(asked(n)) for n in range(count)], return_exceptions=True), 60
        )
    finally:
        await reads.stop()


def test_what_waits_together_is_read_together():
    """Reads that wait at the same time share a statement, up to a batch, and each has its audit row."""

    async def run():
        base = Base()
        assert await reading(base, BATCH + 10) == [None] * (BATCH + 10)
        assert base.sizes == [BATCH, -BATCH, 10, -10]

    asyncio.run(run())


def test_a_failed_batch_is_tried_one_by_one():
    """A line lost under five readers is opened once more, and each is then read alone; none of them fails."""

    async def run():
        base = Base(psycopg.OperationalError("gone"))
        assert await reading(base, 5) == [None] * 5
        assert base.opened == 2
        assert base.sizes == [5, 1, -1, 1, -1, 1, -1, 1, -1, 1, -1]

    asyncio.run(run())


def test_only_who_fails_alone_is_told():
    """Of three, the second fails by itself too: it alone gets the error."""

    async def run():
        lost = psycopg.OperationalError("gone")
        found = await reading(Base(lost, None, lost, None), 3)
        assert [type(one) for one in found] == [type(None), psycopg.OperationalError, type(None)]

    asyncio.run(run())


def test_a_row_that_cannot_be_read_is_nobody_elses_failure():
    """Of three that are read together one has what no code expected, such as a date beyond all dates."""

    async def run():
        defect = OverflowError("date value out of range")
        found = await reading(Base(defect, None, defect, None), 3)
        assert [type(one) for one in found] == [type(None), OverflowError, type(None)]

    asyncio.run(run())


@pytest.mark.parametrize("defect", [RuntimeError("defect"), ValueError("defect")])
def test_a_defect_does_not_end_the_reading(defect):
    """What nobody expected is told to who waited for it, and the next read is served."""

    async def run():
        base = Base(defect, defect)
        reads = Reads(base, Keyring({1: b"k" * 32}, 1), base, "acme")
        reads.start()
        with pytest.raises(type(defect)):
            await asyncio.wait_for(reads.read(asked()), 60)
        assert await asyncio.wait_for(reads.read(asked()), 60) is None
        await reads.stop()

    asyncio.run(run())


def test_the_queue_is_bounded_and_stopping_answers_everybody():
    """Beyond the bound a reader is told to come again at once; those who wait when it stops are told too."""

    async def run():
        base = Base()
        base.go.clear()
        reads = Reads(base, Keyring({1: b"k" * 32}, 1), base, "acme")
        reads.start()
        waiting = [asyncio.create_task(reads.read(asked(n))) for n in range(WAITING + BATCH)]
        await base.begun.wait()
        more = [asyncio.create_task(reads.read(asked(n))) for n in range(BATCH + 1)]
        await asyncio.sleep(0.05)
        refused = [task for task in (*waiting, *more) if task.done()]
        assert refused
        assert all(task.exception().status == 503 for task in refused)
        await reads.stop()
        found = await asyncio.wait_for(asyncio.gather(*waiting, *more, return_exceptions=True), 60)
        assert all(isinstance(one, Problem) and one.status == 503 for one in found)

    asyncio.run(run())


def test_who_went_away_is_not_read_for():
    """Of four who wait, one gives up: three rows are looked up and written."""

    async def run():
        base = Base()
        reads = Reads(base, Keyring({1: b"k" * 32}, 1), base, "acme")
        tasks = [asyncio.create_task(reads.read(asked(n))) for n in range(4)]
        await asyncio.sleep(0)
        tasks[2].cancel()
        await asyncio.sleep(0)
        reads.start()
        found = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 60)
        await reads.stop()
        assert [type(one) for one in found] == [type(None), type(None), asyncio.CancelledError, type(None)]
        assert base.sizes == [3, -3]

    asyncio.run(run())


def test_who_has_waited_too_long_is_told(monkeypatch):
    """What waited longer than the limit is 503 without being read."""

    async def run():
        base = Base()
        reads = Reads(base, Keyring({1: b"k" * 32}, 1), base, "acme")
        monkeypatch.setattr("otobotctl.vault_api.reads.PATIENCE_S", -1.0)
        reads.start()
        with pytest.raises(Problem) as refused:
            await asyncio.wait_for(reads.read(asked()), 60)
        await reads.stop()
        assert (refused.value.status, base.sizes) == (503, [])

    asyncio.run(run())


def test_a_database_that_lets_nobody_in_is_not_asked_for_each(monkeypatch):
    """Five who wait when no line can be had: one try for all of them, and each is told."""
    tries = []

    async def refused(_base, _statements):
        tries.append(1)
        raise psycopg.OperationalError("nobody")

    async def run():
        monkeypatch.setattr(Line, "open", refused)
        monkeypatch.setattr("otobotctl.vault_api.reads.RECONNECT_S", 600.0)
        return await reading(Base(), 5)

    found = asyncio.run(run())
    assert [type(one) for one in found] == [psycopg.OperationalError] * 5
    assert len(tries) == 1


def test_an_array_holds_any_text():
    """Quotes, backslashes, commas, braces, the word null and nothing at all come back from PostgreSQL's own reading."""
    values = ["null", 'a"b', "a\\b", "a,b", "{a}", "", " ", "é", 'x","y']
    assert from_array(_texts(values)) == values
    assert from_array(_texts(["google", "null"])) == ["google", "null"]
    assert from_array(_texts(['a"b'])) == ['a"b']
    assert _ids(["", USER, ""]) == b"{NULL,%s,NULL}" % USER.encode()


def from_array(data):
    """What the text of an array of texts means, by PostgreSQL's rules."""
    text = data.decode()
    assert (text[0], text[-1]) == ("{", "}")
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"(?:,|$)', text[1:-1])
    return [re.sub(r"\\(.)", r"\1", each) for each in quoted]
