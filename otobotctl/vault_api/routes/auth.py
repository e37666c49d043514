"""What people do with their own login: refresh, log out, password, second factor, sessions."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from .. import contract_people as shapes
from ..access import accounts, factors, sessions
from ..access.accounts import Account
from ..access.tokens import LIFETIME, Claims
from ..actor import Access
from ..audit import Transaction
from ..contract import Failure
from ..endpoint import Answer, Call, Endpoint
from ..errors import missing

DONE: Final = Answer(204)


async def refresh(call: Call) -> shapes.TokenPair:
    """Exchange the refresh token."""
    body: shapes.Refresh = call.body
    issued = await sessions.rotate(call, body.refresh_token)
    return shapes.TokenPair(token=issued.token, refresh_token=issued.refresh_token, expires_in=issued.expires_in)


async def log_out(call: Call) -> Answer:
    """End the session of the access token."""
    user, session = _who(call)
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        await sessions.revoke(tx, client, user, session)
        tx.note(accounts.entry(call, "logout", "ok", user, session=str(session)))
    return DONE


async def change_password(call: Call) -> Answer:
    """Set a new password and end every other session."""
    body: shapes.NewPassword = call.body
    user, session = _who(call)
    account = await accounts.again(call, body.password, "password")
    hashed = await accounts.hashed_new(call, account, body.new_password)
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        still = await accounts.entered(tx, client, account)
        if still:
            await accounts.set_password(tx, client, user, hashed, must_change=False)
            await sessions.revoke_others(tx, client, user, session)
        tx.note(accounts.entry(call, "password", "changed" if still else "refused", user))
    if not still:
        raise accounts.wrong()
    return DONE


async def renew_password(call: Call) -> shapes.TokenPair:
    """Log in with an expired or one-time password by replacing it; ends every session that there was."""
    body: shapes.Renewal = call.body
    account = await accounts.by_password(call, body.email, body.password, "password")
    hashed = await accounts.hashed_new(call, account, body.new_password)
    client = await call.vault.database.client()

    async def change(tx: Transaction) -> sessions.Issued:
        await accounts.set_password(tx, client, account.id, hashed, must_change=False)
        await sessions.revoke_others(tx, client, account.id)
        tx.note(accounts.entry(call, "password", "changed", account.id))
        return await sessions.begin(tx, call, account.id, account.role, second_factor=account.mfa_enabled)

    issued = await accounts.enter(call, account, body.otp, "login", change)
    return shapes.TokenPair(token=issued.token, refresh_token=issued.refresh_token, expires_in=issued.expires_in)


async def list_sessions(call: Call) -> shapes.Sessions:
    """One's own sessions."""
    user, session = _who(call)
    return shapes.Sessions(sessions=[sessions.shown(row, session) for row in await sessions.listed(call, user)])


async def end_session(call: Call) -> Answer:
    """End one of one's own sessions."""
    user, _session_id = _who(call)
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        if not await sessions.revoke(tx, client, user, call.id("session")):
            raise missing("session")
        tx.note(accounts.entry(call, "session", "revoked", user, session=str(call.id("session"))))
    return DONE


async def end_sessions(call: Call) -> Answer:
    """End every session of one's own but this one."""
    user, session = _who(call)
    client = await call.vault.database.client()
    async with call.vault.audit.transaction() as tx:
        ended = await sessions.revoke_others(tx, client, user, session)
        tx.note(accounts.entry(call, "session", "revoked", user, count=str(ended)))
    return DONE


async def mfa_state(call: Call) -> shapes.MfaState:
    """Whether the second factor is on."""
    account = await _account(call)
    left = await factors.recovery_codes_left(call, account.id)
    return shapes.MfaState(enabled=account.mfa_enabled, recovery_codes_left=left)


async def enrol(call: Call) -> shapes.Enrolment:
    """Begin: a fresh secret, good once it has been confirmed."""
    body: shapes.Reentered = call.body
    account = await accounts.again(call, body.password, "mfa")
    secret, uri = await factors.begin(call, account)
    return shapes.Enrolment(secret=secret, uri=uri)


async def confirm(call: Call) -> shapes.Confirmed:
    """Finish: the first code turns it on; other sessions end, because they were made without it."""
    body: shapes.Confirmation = call.body
    user, session = _who(call)
    account = await _account(call)
    codes = await factors.confirm(call, account, body.otp, session)
    token = call.vault.tokens.issue(Claims(user, session, account.role, second_factor=True))
    return shapes.Confirmed(recovery_codes=list(codes), token=token, expires_in=int(LIFETIME.total_seconds()))


async def disable(call: Call) -> Answer:
    """Turn the second factor off, with the password and a code."""
    body: shapes.Reentered = call.body
    account = await accounts.again(call, body.password, "mfa")
    await accounts.enter(call, account, body.otp, "mfa", factors.turning_off(call, account.id))
    return DONE


async def recovery_codes(call: Call) -> shapes.RecoveryCodes:
    """Replace the recovery codes, with the password and a code."""
    body: shapes.Reentered = call.body
    account = await accounts.again(call, body.password, "mfa")
    if not account.mfa_enabled:
        raise factors.not_enrolled()
    codes = await accounts.enter(call, account, body.otp, "mfa", factors.renewing_codes(call, account.id))
    return shapes.RecoveryCodes(recovery_codes=list(codes))


def _who(call: Call) -> tuple[UUID, UUID]:
    user, session = call.actor.user, call.actor.session
    assert user is not None  # noqa: S101 - the access of these endpoints is USER
    assert session is not None  # noqa: S101
    return user, session


async def _account(call: Call) -> Account:
    account = await accounts.by_id(call, _who(call)[0])
    if account is None:
        raise missing("user")
    return account


_SELF: Final[dict[str, Any]] = {"access": Access.USER, "tag": "auth"}
_OPEN: Final[dict[str, Any]] = {"access": Access.PUBLIC, "tag": "auth"}
_TAKEN: Final = {409: Failure}

ENDPOINTS: Final[tuple[Endpoint, ...]] = (
    Endpoint(
        "POST", shapes.REFRESH_PATH, "refresh", refresh, summary="Exchange a refresh token; each is good once.",
        body=shapes.Refresh, answer=shapes.TokenPair, statuses={403: Failure}, **_OPEN,
    ),
    Endpoint(
        "POST", shapes.RENEW_PATH, "password_renew", renew_password, body=shapes.Renewal, answer=shapes.TokenPair,
        summary="Log in by replacing a password that has expired or was set by an administrator.", **_OPEN,
    ),
    Endpoint(
        "POST", shapes.LOGOUT_PATH, "logout", log_out, summary="End this session.", answer=None, status=204, **_SELF
    ),
    Endpoint(
        "POST", shapes.PASSWORD_PATH, "password", change_password, body=shapes.NewPassword, answer=None, status=204,
        summary="Change the password; every other session ends.", **_SELF,
    ),
    Endpoint("GET", shapes.MFA_PATH, "mfa", mfa_state, summary="The second factor.", answer=shapes.MfaState, **_SELF),
    Endpoint(
        "POST", shapes.MFA_PATH, "mfa_enrol", enrol, summary="Begin to enrol an authenticator.", body=shapes.Reentered,
        answer=shapes.Enrolment, statuses=_TAKEN, **_SELF,
    ),
    Endpoint(
        "POST", shapes.MFA_CONFIRM_PATH, "mfa_confirm", confirm, summary="Turn the second factor on, with a code.",
        body=shapes.Confirmation, answer=shapes.Confirmed, statuses=_TAKEN, **_SELF,
    ),
    Endpoint(
        "POST", shapes.MFA_DISABLE_PATH, "mfa_disable", disable, summary="Turn the second factor off.",
        body=shapes.Reentered, answer=None, status=204, **_SELF,
    ),
    Endpoint(
        "POST", shapes.MFA_RECOVERY_PATH, "mfa_recovery", recovery_codes, summary="Replace the recovery codes.",
        body=shapes.Reentered, answer=shapes.RecoveryCodes, statuses=_TAKEN, **_SELF,
    ),
    Endpoint(
        "GET", shapes.SESSIONS_PATH, "sessions", list_sessions, summary="One's own sessions.", answer=shapes.Sessions,
        **_SELF,
    ),
    Endpoint(
        "DELETE", shapes.SESSIONS_PATH, "sessions_end", end_sessions, summary="End every session but this one.",
        answer=None, status=204, **_SELF,
    ),
    Endpoint(
        "DELETE", shapes.SESSION_PATH, "session_end", end_session, summary="End one of one's own sessions.",
        answer=None, status=204, statuses={404: Failure}, **_SELF,
    ),
)  # fmt: skip
