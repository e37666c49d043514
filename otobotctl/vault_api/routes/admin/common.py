"""What every route of the administrators shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from ...access.identity import powers
from ...actor import Access
from ...audit import Entry
from ...contract import OWN_USER, Failure
from ...errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ...endpoint import Call

ADMIN: Final[dict[str, Any]] = {"access": Access.ADMIN, "tag": "admin"}
FORBIDDEN: Final[dict[int, Any]] = {403: Failure}
GONE: Final[dict[int, Any]] = {403: Failure, 404: Failure}
TAKEN: Final[dict[int, Any]] = {403: Failure, 404: Failure, 409: Failure}


def entry(call: Call, action: str, outcome: str, user: UUID | None = None, **details: str) -> Entry:
    """An audit entry of this call; details are names and counts, never values."""
    return Entry(action, outcome, call.actor, user, request=call.request, address=call.address, details=details)


async def seen(call: Call, what: str, user: UUID | None = None) -> None:
    """Record that somebody looked."""
    await call.vault.audit.record(entry(call, what, "read", user))


def may_hand_on(call: Call, codes: Iterable[str]) -> None:
    """Raise Problem 403 unless the caller has all of this himself: nobody grants more than he holds."""
    if not frozenset(codes) <= powers(call.actor):
        raise Problem(403, "forbidden", "Nobody can grant what he does not hold")


def nobodys(user: UUID) -> None:
    """Raise Problem 409 for the account that is no person's: the next deploy could not store anything in it."""
    if str(user) == OWN_USER:
        raise Problem(409, "deploys_account", "This account is no person's: deploys store in it")


def may_touch(call: Call, role: str, granted: Iterable[str] = ()) -> None:
    """Raise Problem 403 when the user may do what the caller may not: his password would be a way up."""
    may_hand_on(call, (*granted, "admin") if role == "admin" else granted)
