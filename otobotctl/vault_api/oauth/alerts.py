"""What an operator must know of: raised once, delivered to the webhook until it is taken, resolved when mended."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import msgspec
import psycopg

from .. import logs
from . import lease
from .outbound import OutboundError, Request

if TYPE_CHECKING:
    from ..vault import Vault

EXPIRED_AFTER: Final = timedelta(days=7)
UNUSED_AFTER: Final = timedelta(days=30)
MOST_ATTEMPTS: Final = 20
POST_S: Final = 10.0

# The audit has no index by connection: it is read once, from a little before where the last look ended, because a row
# may be committed after one that is younger. An hour's accuracy is enough, and spares a row that is used all the time.
_NOTE_USES: Final = """
WITH used AS (
    SELECT client_connection_id AS id, max(created_at) AS at FROM credential_access_logs
    WHERE client_id = %(client)s AND access_type = 'read' AND outcome = 'found' AND created_at > coalesce(
        (SELECT used_to FROM refresher_sweeps WHERE client_id = %(client)s), now() - %(unused)s) - interval '10 minutes'
    GROUP BY 1
), noted AS (
    UPDATE refresher_sweeps SET used_to = now() WHERE client_id = %(client)s
)
UPDATE client_connections c SET last_used_at = used.at FROM used
WHERE c.client_id = %(client)s AND c.id = used.id
    AND (c.last_used_at IS NULL OR c.last_used_at < used.at - interval '1 hour')"""

# What is wrong now, by kind. `unused` counts the reads that found something, or the connection's birth.
_WRONG: Final = """
SELECT c.client_id, kind, c.id, c.service_code, c.user_id, about
FROM client_connections c
CROSS JOIN LATERAL (VALUES
    ('broken', c.status = 'broken', c.broken_reason),
    ('refresh_stopped', c.status = 'active' AND c.refresh_failures >= %(most)s, ''),
    ('expired', c.status <> 'revoked' AND c.token_expires_at < now() - %(expired)s, ''),
    ('unused', greatest(c.created_at, c.last_used_at) < now() - %(unused)s, '')
) AS found (kind, wrong, about)
WHERE c.client_id = %(client)s AND c.is_active AND wrong"""

_RAISE: Final = f"""
INSERT INTO alerts (client_id, kind, connection_id, details)
SELECT client_id, kind, id, jsonb_build_object('service', service_code, 'user', user_id, 'reason', about)
FROM ({_WRONG}) AS now_wrong
ON CONFLICT (client_id, kind, connection_id) WHERE resolved_at IS NULL DO NOTHING RETURNING kind"""  # noqa: S608

_RESOLVE: Final = f"""
UPDATE alerts a SET resolved_at = now()
WHERE a.client_id = %(client)s AND a.resolved_at IS NULL AND a.connection_id IS NOT NULL
    AND a.kind IN ('broken', 'refresh_stopped', 'expired', 'unused')
    AND NOT EXISTS (SELECT FROM ({_WRONG}) AS w WHERE w.kind = a.kind AND w.id = a.connection_id)
RETURNING a.kind"""  # noqa: S608

# Taking one puts its next try off, further each time, so that two processes do not send the same one.
_TAKE: Final = """
UPDATE alerts SET attempts = attempts + 1, details = details || jsonb_build_object('retryAt',
    now() + least(interval '6 hours', interval '1 minute' * power(2, least(attempts, 10))))
WHERE (client_id, id) IN (
    SELECT client_id, id FROM alerts WHERE client_id = %s AND delivered_at IS NULL AND resolved_at IS NULL
        AND attempts < %s AND coalesce((details ->> 'retryAt')::timestamptz, '-infinity') <= now()
    ORDER BY raised_at LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING id, kind, connection_id, raised_at, details - 'retryAt'"""

_DELIVERED: Final = "UPDATE alerts SET delivered_at = now() WHERE client_id = %s AND id = %s"


class Alerts:
    """This vault's alerts."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._sending: asyncio.Task[None] | None = None

    async def close(self) -> None:
        """Let a delivery that runs end."""
        if self._sending is not None:
            await asyncio.wait((self._sending,), timeout=POST_S)

    async def sweep(self) -> tuple[int, int]:
        """Raise what is wrong, resolve what is mended, deliver what waits; return how many were raised and resolved.

        Raises:
            psycopg.Error: the database did not answer.
        """
        wanted = {
            "client": await self._vault.database.client(),
            "most": lease.MOST_FAILURES,
            "expired": EXPIRED_AFTER,
            "unused": UNUSED_AFTER,
        }
        await self._vault.database.run(_NOTE_USES, wanted)
        resolved = await self._vault.database.all(_RESOLVE, wanted)
        raised = await self._vault.database.all(_RAISE, wanted)
        for (kind,) in raised:
            logs.event("alert_raised", logging.WARNING, kind=kind)
        await self.deliver()
        return len(raised), len(resolved)

    def soon(self) -> None:
        """Deliver what waits, now, without anybody waiting for it."""
        if self._sending is None or self._sending.done():
            self._sending = asyncio.create_task(self._quietly(), name="alerts")

    async def _quietly(self) -> None:
        try:
            await self.deliver()
        except (psycopg.Error, LookupError) as error:
            logs.event("alerts_failed", logging.ERROR, **logs.describe(error))

    async def deliver(self) -> int:
        """Post what waits to the webhook, one by one; return how many it took. Without a webhook nothing is sent."""
        webhook = self._vault.settings.alert_webhook
        client = await self._vault.database.client()
        taken = 0
        while webhook is not None:
            async with self._vault.database.connection() as wire:
                row = await (await wire.execute(_TAKE, (client, MOST_ATTEMPTS))).fetchone()
            if row is None:
                break
            if await self._post(webhook.reveal(), row):
                await self._vault.database.run(_DELIVERED, (client, row[0]))
                taken += 1
        return taken

    async def _post(self, url: str, row: tuple[Any, ...]) -> bool:
        identity, kind, connection, raised_at, details = row
        body = {
            "id": identity,
            "kind": kind,
            "client": self._vault.settings.client,
            "connectionId": connection,
            "raisedAt": raised_at,
            "details": details,
        }
        # By the key the receiver knows a second copy, which there is when we die between its answer and our note of it.
        headers = {"content-type": "application/json", "idempotency-key": str(identity)}
        try:
            answer = await self._vault.outbound.send(
                Request("POST", url, headers, msgspec.json.encode(body)), total_s=POST_S
            )
        except OutboundError as error:
            logs.event("alert_undelivered", logging.WARNING, kind=kind, error=error.fault.value)
            return False
        if answer.status >= 300:  # noqa: PLR2004
            logs.event("alert_undelivered", logging.WARNING, kind=kind, status=answer.status)
            return False
        logs.event("alert_delivered", kind=kind)
        return True
