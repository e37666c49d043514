"""What is sent, to typed values. A finding names a field and what it must be, and never repeats what was sent."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import msgspec

from .errors import Problem, invalid

T = TypeVar("T", bound=msgspec.Struct)

_UUID: Final = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_SERVICE: Final = re.compile(r"[a-z][a-z0-9_-]{0,63}")
_WHERE: Final = re.compile(r" - at `\$\.?([A-Za-z0-9_.\[\]]*)`$")
_EXPECTED: Final = re.compile(
    r"Expected `[a-z0-9 |]+`( of length (>=|<=) [0-9]+)?|Object missing required field `[A-Za-z0-9_]+`"
)


def identity(text: str, name: str) -> UUID:
    """An id in the canonical form. Raises Problem."""
    if not _UUID.fullmatch(text):
        raise invalid(f"{name} must be a UUID")
    return UUID(text)


def service_code(text: str) -> str:
    """A service's code. Raises Problem."""
    if not _SERVICE.fullmatch(text):
        raise invalid("the service must be a code such as google: a-z, 0-9, hyphens and underscores")
    return text


def body(data: bytes, shape: type[T]) -> T:
    """A JSON body of this shape. Raises Problem."""
    try:
        found = msgspec.json.decode(data, type=shape)
    except msgspec.ValidationError as error:
        raise _refused(error, shape) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise invalid("the body must be JSON") from None
    _no_nul(msgspec.to_builtins(found))
    return found


def query(pairs: Iterable[tuple[str, str]], shape: type[T]) -> T:
    """Query parameters of this shape, each given once. Raises Problem."""
    given: dict[str, str] = {}
    for name, value in pairs:
        if name in given:
            raise invalid("a query parameter may be given once")
        given[name] = value
    try:
        found = msgspec.convert(given, shape, strict=False)
    except msgspec.ValidationError as error:
        raise _refused(error, shape) from None
    _no_nul(given)
    return found


def instant(text: str | None, name: str = "expiresAt") -> datetime | None:
    """An ISO 8601 time with an offset, in UTC. Raises Problem."""
    if not text:
        return None
    try:
        moment = datetime.fromisoformat(text)
        # PostgreSQL would keep what is in no year of ours, and nothing could read it back.
        found = moment.astimezone(UTC) if moment.tzinfo else None
    except (ValueError, OverflowError):
        found = None
    if found is None:
        raise invalid(f"{name} must be an ISO 8601 time with an offset, such as 2026-01-31T12:00:00Z")
    return found


def told(when: datetime | None) -> str | None:
    """A time as answers say it: what `instant` reads back."""
    return when.isoformat() if when else None


def _refused(error: msgspec.ValidationError, shape: type[msgspec.Struct]) -> Problem:
    """The library's words where they quote nothing of the request; otherwise only where it went wrong."""
    text = str(error)
    where = _WHERE.search(text)
    place = where[1] if where and where[1] else "the body"
    if "unknown field" in text:
        known = ", ".join(
            msgspec.structs.fields(shape)[n].encode_name for n in range(len(msgspec.structs.fields(shape)))
        )
        return invalid(f"only these fields are known: {known}")
    expected = _EXPECTED.match(text)
    return invalid(f"{place}: {expected[0] if expected else 'not of the documented form'}")


def _no_nul(value: Any) -> None:
    """PostgreSQL's text has no NUL."""
    if isinstance(value, str):
        if "\x00" in value:
            raise invalid("text may not hold the character NUL")
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _no_nul(key)
            _no_nul(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            _no_nul(inner)
