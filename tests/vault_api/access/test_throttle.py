"""Login limits: per account and per address, the same for accounts that do not exist, bounded in memory."""

from __future__ import annotations

import asyncio

import pytest

from otobotctl.vault_api.access.throttle import Limit, MemoryWindow, RedisWindow, Throttle, account_key
from otobotctl.vault_api.errors import Problem

ADDRESS = Limit("login-address", 6, 900)
ACCOUNT = Limit("login-account", 3, 900)


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def throttle(clock):
    return Throttle(MemoryWindow(clock), ADDRESS, ACCOUNT)


def attempts(throttle, *pairs):
    async def all_of_them():
        return [await throttle.attempt(address, account) for address, account in pairs]

    return asyncio.run(all_of_them())


def test_an_account_has_so_many_attempts_from_everywhere(throttle, clock):
    """The fourth is told how long to wait, from whatever address; the window moves with time."""
    assert attempts(throttle, *((f"192.0.2.{n}", "lea@acme.example") for n in range(3))) == [0, 0, 0]
    assert attempts(throttle, ("192.0.2.9", "lea@acme.example")) == [900]
    clock.now += 899
    assert attempts(throttle, ("192.0.2.9", "LEA@acme.example ")) == [1]
    clock.now += 1
    assert attempts(throttle, ("192.0.2.9", "lea@acme.example")) == [0]


def test_an_address_has_so_many_attempts_for_all_accounts(throttle):
    """Trying many accounts from one network ends too, and then takes nobody's attempts away."""
    pairs = [(f"2001:db8::{n}", f"u{n}@acme.example") for n in range(7)]
    assert attempts(throttle, *pairs) == [0] * 6 + [900]
    assert attempts(throttle, ("2001:db8::1", "lea@acme.example")) == [900]
    assert attempts(throttle, *((f"192.0.2.{n}", "lea@acme.example") for n in range(3))) == [0, 0, 0]


def test_a_refused_attempt_is_not_counted(throttle, clock):
    """Hammering does not keep an account locked for ever."""
    attempts(throttle, *((f"192.0.2.{n}", "lea@acme.example") for n in range(3)))
    clock.now += 450
    assert attempts(throttle, *((f"198.51.100.{n}", "lea@acme.example") for n in range(20))) == [450] * 20
    clock.now += 450
    assert attempts(throttle, ("192.0.2.77", "lea@acme.example")) == [0]


def test_success_gives_the_attempts_back(throttle):
    """After the right password an account starts anew; the address does not."""
    attempts(throttle, *(("192.0.2.1", "lea@acme.example") for _ in range(3)))
    asyncio.run(throttle.succeeded("lea@acme.example"))
    assert attempts(throttle, *(("192.0.2.1", "lea@acme.example") for _ in range(3))) == [0] * 3
    assert attempts(throttle, ("192.0.2.1", "other@acme.example")) == [900]


def test_the_memory_is_bounded(clock):
    """Ten times more names than the bound leave no more than the bound."""
    window = MemoryWindow(clock, max_keys=100)

    async def many():
        for number in range(1000):
            await window.hit(ACCOUNT, str(number))

    asyncio.run(many())
    assert len(window._times) == 100


def test_without_redis_there_is_no_count_and_no_way_in():
    """A Redis that does not answer is 503, not a free pass, and the answer says nothing of its address."""

    async def story():
        window = RedisWindow("redis://:hidden-word@127.0.0.1:9/0", "acme")
        try:
            for asked in (window.hit(ACCOUNT, "x"), window.clear(ACCOUNT, "x")):
                with pytest.raises(Problem) as caught:
                    await asked
                assert caught.value.status == 503
                assert "hidden-word" not in repr(caught.value) + str(caught.value.body())
        finally:
            await window.close()

    asyncio.run(story())


def test_what_was_typed_is_not_kept(throttle):
    """People type passwords into the name field: only digests are held."""
    attempts(throttle, ("192.0.2.1", "my-Passw0rd!"))
    assert "Passw0rd" not in repr(vars(throttle._window))
    assert account_key("A@b.example") == account_key(" a@B.example ")
