"""Who logs in: the account, its password and its second factor. What is refused says one thing, whatever the reason."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import UUID

from ..audit import Entry
from ..crypto import Place
from ..errors import Problem, invalid, too_many, unavailable
from . import mfa, passwords
from .identity import NOBODY
from .passwords import BusyError

if TYPE_CHECKING:
    from ..audit import Transaction
    from ..endpoint import Call

T = TypeVar("T")

FAILURES: Final = 10  # in a row, then the account rests; the same number as the throttle's, and it outlives a restart

_COLUMNS: Final = """id, email, name, role, is_active AND erased_at IS NULL, password_hash, password_changed_at,
    must_change_password, locked_until, mfa_secret, mfa_enabled, mfa_last_step"""
_BY_EMAIL: Final = f"SELECT {_COLUMNS} FROM users WHERE client_id = %s AND lower(email) = lower(%s)"  # noqa: S608
_BY_ID: Final = f"SELECT {_COLUMNS} FROM users WHERE client_id = %s AND id = %s"  # noqa: S608 - constants

_FAILED: Final = f"""
UPDATE users SET failed_logins = failed_logins + 1,
    locked_until = CASE WHEN (failed_logins + 1) %% {FAILURES} = 0 THEN now() + interval '15 minutes'
        ELSE locked_until END
WHERE client_id = %s AND id = %s"""  # noqa: S608 - a constant

# The hash again: a password that was changed while this one was checked wins.
_ENTERED: Final = """
UPDATE users SET failed_logins = 0, locked_until = NULL
WHERE client_id = %s AND id = %s AND password_hash = %s AND is_active"""

_STEP: Final = "UPDATE users SET mfa_last_step = %s WHERE client_id = %s AND id = %s AND mfa_last_step < %s"

_RECOVERY: Final = """
UPDATE mfa_recovery_codes SET used_at = now()
WHERE client_id = %s AND user_id = %s AND code_hash = %s AND used_at IS NULL"""

_CHANGE: Final = """
UPDATE users SET password_hash = %s, password_changed_at = now(), must_change_password = %s, failed_logins = 0,
    locked_until = NULL, updated_at = now()
WHERE client_id = %s AND id = %s"""

_REMEMBER: Final = "INSERT INTO password_history (client_id, user_id, password_hash) VALUES (%s, %s, %s)"

_HISTORY: Final = """
SELECT password_hash FROM password_history WHERE client_id = %s AND user_id = %s ORDER BY set_at DESC LIMIT %s"""

_TRIM: Final = """
DELETE FROM password_history WHERE client_id = %(client)s AND user_id = %(user)s AND set_at < (
    SELECT min(set_at) FROM (SELECT set_at FROM password_history WHERE client_id = %(client)s AND user_id = %(user)s
        ORDER BY set_at DESC LIMIT %(kept)s) AS newest)"""


@dataclass(frozen=True)
class Account:
    """A user's row as the login needs it."""

    id: UUID
    email: str
    name: str
    role: str
    active: bool
    password_hash: str | None = field(repr=False)
    password_changed_at: datetime | None
    must_change: bool
    locked_until: datetime | None
    mfa_secret: str | None = field(repr=False)
    mfa_enabled: bool
    mfa_last_step: int

    @property
    def stale(self) -> bool:
        """Whether the password has to be replaced before anything else."""
        return self.must_change or passwords.expired(self.password_changed_at, datetime.now(UTC))


def wrong() -> Problem:
    """401: one answer for an unknown, locked or inactive account, a wrong password and a wrong code."""
    return Problem(
        401,
        "invalid_credentials",
        "The e-mail address, the password or the code is wrong, or the account is locked for fifteen minutes",
    )


async def by_id(call: Call, user: UUID) -> Account | None:
    """A user's account."""
    row = await call.vault.database.one(_BY_ID, (await call.vault.database.client(), user))
    return Account(*row) if row else None


async def by_password(call: Call, email: str, password: str, action: str = "login") -> Account:
    """Return the account that this password opens.

    An unknown account costs the same: limits, a bcrypt comparison, a write of the same statements.

    Raises:
        Problem: 401 whatever is wrong, 429 after too many attempts, 503 when too many wait.
    """
    await _count(call, email)
    client = await call.vault.database.client()
    row = await call.vault.database.one(_BY_EMAIL, (client, email))
    return await _checked(call, Account(*row) if row else None, password, action)


async def again(call: Call, password: str, action: str) -> Account:
    """Return the caller's own account, whose password has been entered once more. Raises Problem as `by_password`."""
    user = call.actor.user or NOBODY
    await _count(call, str(user))
    return await _checked(call, await by_id(call, user), password, action)


async def failed(call: Call, account: Account | None, action: str, reason: str) -> Problem:
    """Count and record a failure; return the answer to raise."""
    client = await call.vault.database.client()
    user = account.id if account else None
    async with call.vault.audit.transaction() as tx:
        await tx.connection.execute(_FAILED, (client, user or NOBODY))
        tx.note(entry(call, action, "refused", user, reason=reason))
    return wrong()


async def second_factor(tx: Transaction, call: Call, account: Account, otp: str) -> bool:
    """Use up a code of the authenticator or a recovery code; whether it was good: once, also for two at once."""
    client = await call.vault.database.client()
    if account.mfa_secret is None:
        return False
    secret = call.vault.keyring.open(account.mfa_secret, mfa_place(call, account.id))
    step = mfa.accepted_step(secret, otp, datetime.now(UTC), account.mfa_last_step)
    if step is not None:
        used = await tx.connection.execute(_STEP, (step, client, account.id, step))
        return used.rowcount == 1
    digest = mfa.recovery_digest(otp)
    if digest is None:
        return False
    return (await tx.connection.execute(_RECOVERY, (client, account.id, digest))).rowcount == 1


async def enter(
    call: Call, account: Account, otp: str, action: str, effect: Callable[[Transaction], Awaitable[T]]
) -> T:
    """Let an account in: use its second factor, forget its failures, note the success and do `effect`, all or nothing.

    Raises:
        Problem: 401 with `otp_required` when a code is missing, or as for a wrong password when it does not work.
    """
    if account.mfa_enabled and not otp:
        raise Problem(401, "otp_required", "A code of the authenticator is needed as well: send it as otp")
    client = await call.vault.database.client()
    try:
        async with call.vault.audit.transaction() as tx:
            await _must_be_good(tx, client, call, account, otp)
            tx.note(entry(call, action, "ok", account.id))
            done = await effect(tx)
    except _NotGoodError:
        raise await failed(call, account, action, "code") from None
    await call.vault.throttle.succeeded(account.email)
    await call.vault.throttle.succeeded(str(account.id))
    return done


async def _must_be_good(tx: Transaction, client: UUID, call: Call, account: Account, otp: str) -> None:
    if not await entered(tx, client, account) or (
        account.mfa_enabled and not await second_factor(tx, call, account, otp)
    ):
        raise _NotGoodError


async def entered(tx: Transaction, client: UUID, account: Account) -> bool:
    """Whether the password that was checked is the account's still; then its failures are forgotten."""
    return (await tx.connection.execute(_ENTERED, (client, account.id, account.password_hash))).rowcount == 1


class _NotGoodError(Exception):
    """The code did not work; undoes the transaction and goes no further."""


async def hashed_new(call: Call, account: Account, new: str) -> str:
    """Return the hash of a new password. Raises Problem: 400 when the policy or the history is against it."""
    found = passwords.findings(new, account.email, account.name)
    if found:
        raise invalid(*found)
    client = await call.vault.database.client()
    rows = await call.vault.database.all(_HISTORY, (client, account.id, passwords.HISTORY))
    before = [row[0] for row in rows] + ([account.password_hash] if account.password_hash and not rows else [])
    try:
        if await call.vault.passwords.used_before(new, before):
            raise invalid(f"the password must not be one of the last {passwords.HISTORY}")
        return await call.vault.passwords.hash(new)
    except BusyError:
        raise unavailable() from None


async def set_password(tx: Transaction, client: UUID, user: UUID, hashed: str, *, must_change: bool) -> None:
    """Store a new hash, and remember it among the last ones."""
    await tx.connection.execute(_CHANGE, (hashed, must_change, client, user))
    await tx.connection.execute(_REMEMBER, (client, user, hashed))
    await tx.connection.execute(_TRIM, {"client": client, "user": user, "kept": passwords.HISTORY})


def mfa_place(call: Call, user: UUID) -> Place:
    """Where the authenticator's secret of a user belongs."""
    return Place(call.vault.settings.client, str(user), "", str(user), "mfa_secret")


def entry(call: Call, action: str, outcome: str, user: UUID | None, **details: str) -> Entry:
    """An audit entry about a user, of this call."""
    return Entry(action, outcome, call.actor, user, request=call.request, address=call.address, details=details)


async def _count(call: Call, account: str) -> None:
    wait_s = await call.vault.throttle.attempt(call.address, account)
    if wait_s:
        raise too_many(wait_s)


async def _checked(call: Call, account: Account | None, password: str, action: str) -> Account:
    reason = _closed(account)
    stored = account.password_hash if account and not reason else None
    try:
        same = await call.vault.passwords.verify(password, stored)
    except BusyError:
        raise unavailable() from None
    if account is None or not same:
        raise await failed(call, account, action, reason or "password")
    return account


def _closed(account: Account | None) -> str:
    if account is None:
        return "unknown"
    if not account.active:
        return "inactive"
    locked = account.locked_until
    return "locked" if locked is not None and locked > datetime.now(UTC) else ""
