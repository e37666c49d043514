"""How often somebody may try to log in: per account and per address, the same for accounts that do not exist."""

from __future__ import annotations

import logging
import math
import time
from array import array
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Final, Protocol

from .. import logs
from ..errors import Problem, unavailable
from .address import bucket

if TYPE_CHECKING:
    from limits.aio.strategies import MovingWindowRateLimiter

MAX_KEYS: Final = (
    20_000  # 22 MB when each has its hundred attempts; beyond it the ones touched longest ago are forgotten
)

_ANSWER_S: Final = 2.0  # a Redis that hangs must not hold every login for as long as a request may take


@dataclass(frozen=True)
class Limit:
    """So many attempts in so many seconds, under a name that keeps its counts apart from other limits."""

    name: str
    amount: int
    window_s: int


PER_ADDRESS: Final = Limit("login-address", 100, 15 * 60)
PER_ACCOUNT: Final = Limit("login-account", 10, 15 * 60)


class Window(Protocol):
    """Counts attempts in a moving window."""

    async def hit(self, limit: Limit, key: str) -> int:
        """Count an attempt; return 0, or the seconds until one is allowed again (then it was not counted)."""
        ...

    async def clear(self, limit: Limit, key: str) -> None:
        """Forget the attempts of a key."""
        ...

    async def close(self) -> None:
        """Give connections back."""
        ...


class MemoryWindow:
    """Of this process only. Bounded: an attacker with many names cannot fill the memory."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, max_keys: int = MAX_KEYS) -> None:
        self._clock = clock
        self._max_keys = max_keys
        self._times: OrderedDict[tuple[str, str], array[float]] = OrderedDict()

    async def hit(self, limit: Limit, key: str) -> int:
        """Count an attempt; 0 or the seconds to wait."""
        now = self._clock()
        times = self._times.setdefault((limit.name, key), array("d"))
        self._times.move_to_end((limit.name, key))
        while times and times[0] <= now - limit.window_s:
            times.pop(0)
        if len(times) >= limit.amount:
            return max(1, math.ceil(times[0] + limit.window_s - now))
        times.append(now)
        if len(self._times) > self._max_keys:
            self._times.popitem(last=False)
        return 0

    async def clear(self, limit: Limit, key: str) -> None:
        """Forget the attempts of a key."""
        self._times.pop((limit.name, key), None)

    async def close(self) -> None:
        """Nothing to give back."""


class RedisWindow:
    """Shared by the replicas of a vault. Without an answer of Redis there is no count, and without a count no login."""

    def __init__(self, url: str, client: str) -> None:
        from limits.aio.storage import RedisStorage
        from limits.aio.strategies import MovingWindowRateLimiter

        self._storage = RedisStorage(
            f"async+{url}",
            wrap_exceptions=True,
            implementation="redispy",
            key_prefix=f"vault:{client}",
            socket_connect_timeout=_ANSWER_S,
            socket_timeout=_ANSWER_S,
        )
        self._limiter: MovingWindowRateLimiter = MovingWindowRateLimiter(self._storage)

    async def hit(self, limit: Limit, key: str) -> int:
        """Count an attempt; 0 or the seconds to wait. Raises Problem: 503."""
        from limits.errors import StorageError

        item = _item(limit)
        try:
            if await self._limiter.hit(item, limit.name, key):
                return 0
            reset, _remaining = await self._limiter.get_window_stats(item, limit.name, key)
        except StorageError as error:
            raise _uncounted(error) from None
        return max(1, math.ceil(reset - time.time()))

    async def clear(self, limit: Limit, key: str) -> None:
        """Forget the attempts of a key. Raises Problem: 503."""
        from limits.errors import StorageError

        try:
            await self._limiter.clear(_item(limit), limit.name, key)
        except StorageError as error:
            raise _uncounted(error) from None

    async def close(self) -> None:
        """Give the connections back."""
        bridge: Any = self._storage.bridge
        await bridge.storage.aclose()


def _uncounted(error: Any) -> Problem:
    """503, said in the log by the type of what Redis or the line did: its text may hold the address."""
    logs.event("limits_unavailable", logging.ERROR, error=type(error.storage_error).__name__)
    return unavailable()


class Throttle:
    """The limits of every route that takes a password or a code from somebody who is not known yet."""

    def __init__(self, window: Window, per_address: Limit = PER_ADDRESS, per_account: Limit = PER_ACCOUNT) -> None:
        self._window = window
        self._per_address = per_address
        self._per_account = per_account

    async def attempt(self, address: str, account: str) -> int:
        """Count an attempt before anything is looked up; return 0, or the seconds to wait.

        The address goes first: one that is over its limit cannot use up the attempts of other people's accounts.
        """
        wait_s = await self._window.hit(self._per_address, bucket(address))
        return wait_s or await self._window.hit(self._per_account, account_key(account))

    async def succeeded(self, account: str) -> None:
        """Forget an account's attempts after the right password and code."""
        await self._window.clear(self._per_account, account_key(account))


def account_key(account: str) -> str:
    """Return what an account counts as: a digest, so that neither memory nor Redis holds what was typed."""
    return sha256(account.strip().casefold().encode("utf-8", "surrogatepass")).hexdigest()


def _item(limit: Limit) -> Any:
    from limits import RateLimitItemPerSecond

    return RateLimitItemPerSecond(limit.amount, limit.window_s)
