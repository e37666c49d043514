"""Everything one vault process has, opened and closed together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from . import keys, logs
from .admission import Gate
from .audit import Audit
from .crypto import ALLOWANCE, Keyring
from .database import Database
from .limits import Limits
from .reads import Reads

if TYPE_CHECKING:
    from .configuration import Settings

_TOP_UP_EVERY_S = 20.0


@dataclass
class Vault:
    """One client's vault. Make it with `Vault.open`."""

    settings: Settings
    database: Database
    keyring: Keyring
    audit: Audit
    reads: Reads
    limits: Limits
    gate: Gate
    operator_gate: Gate
    _counting: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, settings: Settings, *, wait_s: float = 60) -> Vault:
        """Open the vault of these settings, waiting for its database.

        Raises:
            keys.KeysError: the configured keys do not fit the database.
            psycopg.Error, LookupError: no database, or no migrated one, within `wait_s`.
        """
        database = Database(settings)
        await database.open()
        try:
            keyring = await _keyring(database, settings, wait_s)
        except BaseException:
            await database.close()
            raise
        audit = Audit(database, bytes.fromhex(settings.audit_key.reveal()))
        operator = (settings.operator_token,) if settings.operator_token else ()
        made = cls(
            settings=settings,
            database=database,
            keyring=keyring,
            audit=audit,
            reads=Reads(database, keyring, audit, settings.client),
            limits=Limits(settings),
            gate=Gate(settings.tokens),
            operator_gate=Gate(operator),
        )
        made.reads.start()
        made._counting = asyncio.create_task(made._count_uses(), name="uses")
        return made

    async def close(self) -> None:
        """Answer what waits, and close every connection."""
        if self._counting is not None:
            self._counting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._counting
        await self.reads.stop()
        await self.database.close()

    async def _count_uses(self) -> None:
        """Keep the key's counted uses ahead of what is sealed."""
        while True:
            await asyncio.sleep(_TOP_UP_EVERY_S)
            if self.keyring.allowance < ALLOWANCE // 2:
                try:
                    await keys.count(self.database, self.keyring)
                except (psycopg.Error, LookupError) as error:
                    logs.event("uses_not_counted", logging.WARNING, **logs.describe(error))


async def _keyring(database: Database, settings: Settings, wait_s: float) -> Keyring:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return await keys.load(database, settings.client, settings.master_keys)
        except (psycopg.Error, LookupError):
            if time.monotonic() > deadline:
                raise
            logs.event("waiting_for_database", logging.WARNING)
            await asyncio.sleep(0.5)
