"""One refresh, under its lease: ask the provider, and make what it says durable.

The provider is asked with no database connection held. What it has rotated to is written down before anything else,
then the new pair is put in place together with its audit row. What cannot be saved, by anybody: a token that a provider
rotated to in an answer that did not reach us, because the process was killed or the answer came too late. Then the old
one is tried again, which many providers allow for a while.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import TYPE_CHECKING, Final
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from .. import logs
from ..audit import Entry
from ..crypto import Place, SealError
from . import answers, applications, lease, requests
from .answers import Refusal, Tokens
from .lease import Claim, Seen
from .outbound import Fault, OutboundError

if TYPE_CHECKING:
    from ..database import Wire
    from ..vault import Vault
    from .providers import Provider

HTTP_S: Final = 30.0
SAVE_S: Final = 600.0  # how long a new token is carried when the database is away
# After the first failure, the second and so on; the fifth stops it. Longer than a provider's usual trouble.
DELAYS_S: Final = (120, 600, 1800, 5400, 5400)
JITTER: Final = 0.2
_UNREACHED: Final = frozenset({Fault.UNREACHABLE, Fault.UNRESOLVED})
_RANDOM: Final = random.SystemRandom()


class Outcome(Enum):
    """What came of a refresh."""

    REFRESHED = "refreshed"
    CURRENT = "current"  # nothing to do: another process has done it, or it is not due
    BUSY = "busy"  # another process is at it
    WAITING = "waiting"  # after a failure
    STOPPED = "stopped"  # after too many
    FAILED = "failed"  # for now
    BROKEN = "broken"  # for good: the user must connect again
    LOST = "lost"  # it came too late, another process has refreshed or replaced it
    GONE = "gone"


@dataclass(frozen=True)
class Result:
    """What came of one refresh; `reason` is a code, `after_s` when to try again."""

    connection: UUID
    outcome: Outcome
    reason: str = ""
    after_s: int = 0


class _CannotError(Exception):
    """The refresh cannot be asked for: something of ours is missing. The text is a code."""


async def renew(vault: Vault, claim: Claim, *, http_s: float = HTTP_S) -> Result:
    """Refresh a claimed connection; whatever the provider does, the lease is given back or lapses.

    Raises:
        psycopg.Error, LookupError: the database stayed away.
        SealError: the key has no uses left.
    """
    try:
        used, answer = await _ask(vault, claim, http_s)
    except _CannotError as error:
        return await _failed(vault, claim, Refusal(str(error)))
    except OutboundError as error:
        refusal = Refusal(_named(vault, claim, error.fault))
        return await _failed(vault, claim, refusal, counts=error.fault not in _UNREACHED)
    if isinstance(answer, Tokens):
        return await _save(vault, claim, used, answer)
    if answer.permanent:
        return await _broken(vault, claim, used, answer)
    return await _failed(vault, claim, answer)


async def _ask(vault: Vault, claim: Claim, http_s: float) -> tuple[str, Tokens | Refusal]:
    """Ask the provider; return the refresh token that was used, and the answer."""
    provider = vault.providers.get(claim.service)
    if provider is None or provider.kind != "oauth2":
        raise _CannotError("unknown_service")
    try:
        used = _current(vault, claim, claim.id)
        application = await applications.find(vault, claim.service, claim.app)
    except SealError:
        raise _CannotError("unreadable") from None
    if application is None:
        raise _CannotError("no_application")
    try:
        values = provider.values(only(claim.parameters, provider))
    except ValueError:
        raise _CannotError("bad_parameters") from None
    request = requests.refresh(provider, values, application.client, used)
    response = await vault.outbound.send(request, total_s=http_s)
    return used, answers.read(provider, values, response, datetime.now(UTC))


def _named(vault: Vault, claim: Claim, fault: Fault) -> str:
    """A fault as a code, which tells where the next invalid_grant may come from."""
    rotates = not fault.unsent and vault.providers[claim.service].rotates
    return f"{fault.value}_may_have_rotated" if rotates else fault.value


def only(parameters: Mapping[str, str], provider: Provider) -> dict[str, str]:
    """Of what a connection remembers, what goes into addresses."""
    return {name: value for name, value in parameters.items() if name in provider.parameters}


def _place(vault: Vault, row: Claim | Seen, connection: UUID, column: str) -> Place:
    return Place(vault.settings.client, str(row.user), row.service, str(connection), column)


def _current(vault: Vault, row: Claim | Seen, connection: UUID) -> str:
    """The refresh token that counts: the one that was rotated to, where a process died before it was in place."""
    if row.next is not None:
        return vault.keyring.open(row.next, _place(vault, row, connection, "encrypted_next_refresh_token"))
    return vault.keyring.open(row.refresh or "", _place(vault, row, connection, "encrypted_refresh_token"))


async def _save(vault: Vault, claim: Claim, used: str, tokens: Tokens) -> Result:
    """Make the new tokens durable, however long the database is away; the old refresh token stays if none came."""
    deadline, pause = time.monotonic() + SAVE_S, 0.1
    while True:
        try:
            sealed, sealed_next = _sealed(vault, claim, used, tokens)
            if sealed_next is not None and not await lease.keep(vault.database, claim, sealed_next):
                return await _late(vault, claim, used, sealed_next)
            return await _finish(vault, claim, sealed, tokens)
        except (psycopg.Error, LookupError, SealError) as error:
            logs.event("refresh_unsaved", logging.ERROR, connection=claim.id, **logs.describe(error))
            if time.monotonic() > deadline:
                raise
        await asyncio.sleep(pause * _RANDOM.uniform(1 - JITTER, 1 + JITTER))
        pause = min(pause * 2, 5.0)


def _sealed(vault: Vault, claim: Claim, used: str, tokens: Tokens) -> tuple[tuple[str, str], str | None]:
    """The access and refresh token for their columns, and the refresh token as the next one if it has changed."""

    def seal(plain: str, column: str) -> str:
        return vault.keyring.seal(plain, _place(vault, claim, claim.id, column))

    refresh = tokens.refresh or used
    pair = seal(tokens.access, "encrypted_access_token"), seal(refresh, "encrypted_refresh_token")
    return pair, seal(refresh, "encrypted_next_refresh_token") if refresh != used else None


async def _finish(vault: Vault, claim: Claim, sealed: tuple[str, str], tokens: Tokens) -> Result:
    async with vault.audit.transaction() as change:
        scopes = tokens.scopes or claim.scopes
        done = await lease.finish(change.connection, claim, sealed, tokens.expires_at, scopes)
        change.note(_entry(claim, "refreshed" if done else "lost"))
    return Result(claim.id, Outcome.REFRESHED if done else Outcome.LOST)


async def _late(vault: Vault, claim: Claim, used: str, sealed_next: str) -> Result:
    """The lease is another's. If the row still has the token that we have just used up, ours takes its place."""
    while True:
        seen = await lease.look(vault.database, claim.id)
        if seen is None or _differs(vault, seen, claim, used):
            return Result(claim.id, Outcome.LOST)
        if await lease.keep_anyhow(vault.database, claim, seen, sealed_next):
            await vault.audit.record(_entry(claim, "kept"))
            return Result(claim.id, Outcome.LOST, "kept")


def _differs(vault: Vault, seen: Seen, claim: Claim, used: str) -> bool:
    try:
        return _current(vault, seen, claim.id) != used
    except SealError:
        return True


async def _broken(vault: Vault, claim: Claim, used: str, refusal: Refusal) -> Result:
    """The grant is gone, unless the row has changed meanwhile: then a race was lost, not the grant."""
    seen = await lease.look(vault.database, claim.id)
    if seen is None or _differs(vault, seen, claim, used):
        return Result(claim.id, Outcome.LOST, refusal.code)
    async with vault.audit.transaction() as change:
        done = await lease.end(change.connection, claim, seen, refusal.code)
        if done:
            await _raise(change.connection, claim, "broken", refusal.code)
        change.note(_entry(claim, "broken" if done else "lost", refusal.code))
    if done:
        vault.alerts.soon()
    return Result(claim.id, Outcome.BROKEN if done else Outcome.LOST, refusal.code)


async def _failed(vault: Vault, claim: Claim, refusal: Refusal, *, counts: bool = True) -> Result:
    """A fault that may pass: wait longer each time, stop after the last. A network that is down is not counted."""
    delay_s = DELAYS_S[min(claim.failures, len(DELAYS_S) - 1)] if counts else DELAYS_S[0]
    delay_s = max(int(delay_s * _RANDOM.uniform(1 - JITTER, 1 + JITTER)), refusal.after_s or 0)
    async with vault.audit.transaction() as change:
        failures = await lease.fail(change.connection, claim, timedelta(seconds=delay_s), counts=counts)
        stopped = failures is not None and failures >= lease.MOST_FAILURES
        if stopped:
            await _raise(change.connection, claim, "refresh_stopped", refusal.code)
        change.note(_entry(claim, "stopped" if stopped else "failed", refusal.code))
    if stopped:
        vault.alerts.soon()
    return Result(claim.id, Outcome.STOPPED if stopped else Outcome.FAILED, refusal.code, delay_s)


async def _raise(wire: Wire, claim: Claim, kind: str, reason: str) -> None:
    details = {"service": claim.service, "user": str(claim.user), "reason": reason}
    await wire.execute(lease.RAISE, (claim.client, kind, claim.id, Jsonb(details)))


def _entry(claim: Claim, outcome: str, reason: str = "") -> Entry:
    details = {"reason": reason} if reason else {}
    return Entry("refresh", outcome, user=claim.user, service=claim.service, connection=claim.id, details=details)
