"""Everything one vault process has, opened and closed together."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psycopg

from . import keys, logs
from .access.passwords import Passwords
from .access.throttle import Throttle
from .access.tokens import Tokens
from .admission import Gate
from .audit import Audit
from .crypto import ALLOWANCE, Keyring
from .database import Database
from .limits import Limits
from .n8n import N8n
from .oauth import providers
from .oauth.alerts import Alerts
from .oauth.outbound import Outbound
from .oauth.providers import Provider
from .oauth.refresh import Refresh
from .reads import Reads
from .refusals import Refusals

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
    refusals: Refusals
    reads: Reads
    limits: Limits
    gate: Gate
    node_gate: Gate
    operator_gate: Gate
    providers: Mapping[str, Provider]
    outbound: Outbound
    refresh: Refresh = field(init=False)
    alerts: Alerts = field(init=False)
    passwords: Passwords
    tokens: Tokens
    throttle: Throttle
    n8n: N8n
    _counting: asyncio.Task[None] | None = None

    @classmethod
    async def open(cls, settings: Settings, *, wait_s: float = 60) -> Vault:
        """Open the vault of these settings, waiting for its database.

        Raises:
            keys.KeysError: the configured keys do not fit the database.
            providers.ProvidersError: the file of further providers is not right.
            psycopg.Error, LookupError: no database, or no migrated one, within `wait_s`.
        """
        known = providers.of(settings)
        database = Database(settings)
        await database.open()
        try:
            keyring = await _keyring(database, settings, wait_s)
        except BaseException:
            await database.close()
            raise
        audit = Audit(database, bytes.fromhex(settings.audit_key.reveal()))
        limits = Limits(settings)
        operator = (settings.operator_token,) if settings.operator_token else ()
        made = cls(
            settings=settings,
            database=database,
            keyring=keyring,
            audit=audit,
            refusals=Refusals(audit),
            reads=Reads(database, keyring, audit, settings.client),
            limits=limits,
            gate=Gate(settings.tokens),
            node_gate=Gate(settings.node_tokens),
            operator_gate=Gate(operator),
            providers=known,
            outbound=Outbound(settings.outbound_allow),
            passwords=Passwords(),
            tokens=Tokens([secret.reveal() for secret in settings.jwt_secrets], settings.client),
            throttle=Throttle(limits.window, limits.public("login-address")),
            n8n=N8n(settings.n8n_url, settings.n8n_webhook_secret),
        )
        made.refresh = Refresh(made)
        made.alerts = Alerts(made)
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
        await self.refresh.close()
        await self.alerts.close()
        await self.outbound.close()
        await self.n8n.close()
        await self.limits.window.close()
        self.passwords.close()
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
