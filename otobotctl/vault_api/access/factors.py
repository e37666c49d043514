"""The second factor of an account: enrolled, confirmed, turned off, its recovery codes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from ..errors import Problem, too_many
from . import accounts, mfa, sessions

if TYPE_CHECKING:
    from ..audit import Transaction
    from ..endpoint import Call
    from .accounts import Account

_BEGIN: Final = """
UPDATE users SET mfa_secret = %s, mfa_last_step = 0, updated_at = now()
WHERE client_id = %s AND id = %s AND NOT mfa_enabled"""

# The sealed secret again: of two enrolments at once, the code belongs to one.
_CONFIRM: Final = """
UPDATE users SET mfa_enabled = true, mfa_last_step = %s, updated_at = now()
WHERE client_id = %s AND id = %s AND NOT mfa_enabled AND mfa_secret = %s"""

_OFF: Final = """
UPDATE users SET mfa_enabled = false, mfa_secret = NULL, mfa_last_step = 0, updated_at = now()
WHERE client_id = %s AND id = %s"""

_NO_CODES: Final = "DELETE FROM mfa_recovery_codes WHERE client_id = %s AND user_id = %s"
_CODE: Final = "INSERT INTO mfa_recovery_codes (client_id, user_id, code_hash) VALUES (%s, %s, %s)"
_LEFT: Final = "SELECT count(*) FROM mfa_recovery_codes WHERE client_id = %s AND user_id = %s AND used_at IS NULL"


def not_enrolled() -> Problem:
    """409: there is no second factor, or none waiting to be confirmed."""
    return Problem(409, "mfa_not_enrolled", "There is no second factor to do this with: POST /api/auth/mfa first")


async def recovery_codes_left(call: Call, user: UUID) -> int:
    """How many recovery codes are unused."""
    row = await call.vault.database.one(_LEFT, (await call.vault.database.client(), user))
    return int(row[0]) if row else 0


async def begin(call: Call, account: Account) -> tuple[str, str]:
    """Store a fresh secret, which counts once confirmed; return it and its otpauth:// address.

    Raises:
        Problem: 409 when a second factor is on already.
    """
    client = await call.vault.database.client()
    secret = mfa.new_secret()
    sealed = call.vault.keyring.seal(secret, accounts.mfa_place(call, account.id))
    async with call.vault.audit.transaction() as tx:
        if not (await tx.connection.execute(_BEGIN, (sealed, client, account.id))).rowcount:
            raise Problem(409, "mfa_enabled", "A second factor is on already: turn it off first")
        tx.note(accounts.entry(call, "mfa", "begun", account.id))
    return secret, mfa.uri(secret, account.email, f"Otobot {call.vault.settings.client}")


async def confirm(call: Call, account: Account, otp: str, session: UUID) -> Sequence[str]:
    """Turn it on with its first code; return the recovery codes. Every session but this one ends.

    Raises:
        Problem: 401 when the code is wrong, 409 when nothing waits to be confirmed, 429 after too many.
    """
    wait_s = await call.vault.throttle.attempt(call.address, f"mfa {account.id}")
    if wait_s:
        raise too_many(wait_s)
    if account.mfa_secret is None or account.mfa_enabled:
        raise not_enrolled()
    client = await call.vault.database.client()
    secret = call.vault.keyring.open(account.mfa_secret, accounts.mfa_place(call, account.id))
    step = mfa.accepted_step(secret, otp, datetime.now(UTC), None)
    if step is None:
        raise await accounts.failed(call, account, "mfa", "code")
    async with call.vault.audit.transaction() as tx:
        if not (await tx.connection.execute(_CONFIRM, (step, client, account.id, account.mfa_secret))).rowcount:
            raise not_enrolled()
        codes = await _new_codes(tx, client, account.id)
        await sessions.revoke_others(tx, client, account.id, session)
        tx.note(accounts.entry(call, "mfa", "enabled", account.id))
    return codes


def turning_off(call: Call, user: UUID) -> Callable[[Transaction], Awaitable[None]]:
    """What turns a user's second factor off, inside a transaction, and notes it."""

    async def effect(tx: Transaction) -> None:
        client = await call.vault.database.client()
        await tx.connection.execute(_OFF, (client, user))
        await tx.connection.execute(_NO_CODES, (client, user))
        tx.note(accounts.entry(call, "mfa", "disabled", user))

    return effect


def renewing_codes(call: Call, user: UUID) -> Callable[[Transaction], Awaitable[Sequence[str]]]:
    """What replaces a user's recovery codes, inside a transaction, and notes it."""

    async def effect(tx: Transaction) -> Sequence[str]:
        codes = await _new_codes(tx, await call.vault.database.client(), user)
        tx.note(accounts.entry(call, "mfa", "recovery_codes", user))
        return codes

    return effect


async def _new_codes(tx: Transaction, client: UUID, user: UUID) -> Sequence[str]:
    codes = mfa.new_recovery_codes()
    await tx.connection.execute(_NO_CODES, (client, user))
    for code in codes:
        await tx.connection.execute(_CODE, (client, user, mfa.recovery_digest(code)))
    return codes
