"""How often who may ask: `limits` counts, in memory, or in Redis when there are several replicas."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from limits import RateLimitItem, parse

from .access.address import bucket
from .access.throttle import Limit, MemoryWindow, RedisWindow, Window
from .errors import too_many

if TYPE_CHECKING:
    from .actor import Actor
    from .configuration import Settings
    from .endpoint import Endpoint

_BY_ADDRESS: Final = frozenset({"anonymous"})


class Limits:
    """Counts requests. Internal callers have a limit of their own: a loop over a hundred items is no attack."""

    def __init__(self, settings: Settings) -> None:
        # Shared with the logins' throttle; whoever closes the vault closes it.
        redis = settings.redis
        self.window: Window = RedisWindow(redis.reveal(), settings.client) if redis else MemoryWindow()
        self._public = parse(settings.public_rate)
        self.internal = Bucket(parse(settings.internal_rate))

    async def count(self, endpoint: Endpoint, actor: Actor, address: str) -> None:
        """Count one request to an endpoint. Raises Problem: 429."""
        if endpoint.limit == "internal" or (actor.kind == "operator" and endpoint.limit == "public"):
            # An operator pages through an audit or adds a company's people: as much a program as n8n is.
            self.internal.take()
        elif endpoint.limit == "public":
            who = bucket(address) if actor.kind in _BY_ADDRESS else actor.label
            await self.hit(self._public, endpoint.name, who)

    async def guess(self, address: str) -> None:
        """Count a request with no valid credential. Raises Problem: 429."""
        await self.hit(self._public, "guess", bucket(address))

    async def hit(self, rate: RateLimitItem, *what: str) -> None:
        """Count one hit of `what` against a rate. Raises Problem: 429 with the seconds to wait."""
        name, *key = what
        wait_s = await self.window.hit(Limit(name, rate.amount, rate.get_expiry()), " ".join(key))
        if wait_s:
            raise too_many(wait_s)

    def public(self, name: str) -> Limit:
        """The limit of unknown callers, under a name of its own."""
        return Limit(name, self._public.amount, self._public.get_expiry())


class Bucket:
    """A token bucket for the hot route: a window that keeps a record a request would cost more than the read."""

    def __init__(self, rate: RateLimitItem) -> None:
        self._most = float(rate.amount)
        self._a_second = rate.amount / rate.get_expiry()
        self._left = self._most
        self._at = time.monotonic()

    def take(self) -> None:
        """Take one. Raises Problem: 429."""
        now = time.monotonic()
        self._left = min(self._most, self._left + (now - self._at) * self._a_second)
        self._at = now
        if self._left < 1:
            raise too_many(int((1 - self._left) / self._a_second) + 1)
        self._left -= 1
