"""Callers who were told to come again later, in the audit: the first of each in a while, so that none can fill it."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg

from . import logs
from .access.address import bucket
from .audit import Entry

if TYPE_CHECKING:
    from .actor import Actor
    from .audit import Audit

EVERY_S: Final = 15 * 60  # one entry in so long for each caller and route
MOST: Final = 10_000  # callers that are remembered; of more, the ones noted longest ago may be noted again


class Refusals:
    """Notes refusals for asking too often."""

    def __init__(self, audit: Audit, clock: Callable[[], float] = time.monotonic) -> None:
        self._audit = audit
        self._clock = clock
        self._noted: OrderedDict[tuple[str, str, str], float] = OrderedDict()

    async def note(self, route: str, actor: Actor, request: UUID, address: str) -> None:
        """Record one, unless it is one of many. An audit that does not take it changes nothing: nobody got anything."""
        key, now = (route, actor.label, bucket(address)), self._clock()
        before = self._noted.get(key)
        if before is not None and now - before < EVERY_S:
            return
        self._noted[key] = now
        self._noted.move_to_end(key)
        if len(self._noted) > MOST:
            self._noted.popitem(last=False)
        entry = Entry("limit", "refused", actor, actor.user, request=request, address=address, details={"route": route})
        try:
            await self._audit.record(entry)
        except (psycopg.Error, LookupError) as error:
            self._noted.pop(key, None)
            logs.failed(error, request)
