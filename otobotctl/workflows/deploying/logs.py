"""`logs`: what a client's containers say, without the client's secrets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl import secrets
from otobotctl.errors import ManifestError, UsageError
from otobotctl.render import layout
from otobotctl.workflows.converging import opener
from otobotctl.workflows.desired import load, masked

if TYPE_CHECKING:
    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet

_LINE = re.compile(r"(?P<container>\S+?)\s+\| (?P<at>\d{4}-\d\d-\d\dT\S+Z) ?(?P<text>.*)", re.DOTALL)
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_SINCE = re.compile(r"(\d+(\.\d+)?(s|m|h))+|\d{4}-\d\d-\d\d(T[0-9:.]+(Z|[+-]\d\d:\d\d)?)?")
_TAIL = re.compile(r"all|\d{1,7}")


@dataclass(frozen=True)
class Line:
    """A line of a container's log. `at` is UTC, ISO 8601; "" with `container` for words of Docker's own."""

    container: str
    at: str
    text: str


@dataclass(frozen=True)
class Wish:
    """Which lines: the last `tail` of each container, those since a time, and those that are still to come."""

    services: tuple[str, ...] = ()
    tail: str = "100"
    since: str = ""
    follow: bool = False


def logs(fleet: Fleet, slug: str, wish: Wish, password: Password | None = None) -> Iterator[Line]:
    """Yield lines as they come; whatever is a secret of the client's is *** in them.

    Raises:
        UsageError: the wish cannot be meant, or there is no such service.
        ManifestError: the client's secrets cannot be opened here, so that nothing could be masked.
    """
    from otobotctl.converge import loglines

    _check(wish)
    loaded = load(fleet)
    client = loaded.manifest.client(slug)
    hidden = _hidden(fleet, slug)
    found = loglines.lines(
        opener(loaded, client.host),
        slug,
        layout.project(slug),
        wish.services,
        tail=wish.tail,
        since=wish.since,
        follow=wish.follow,
        password=password,
    )
    for line in found:
        yield parse(mask(line, hidden))


def parse(line: str) -> Line:
    """Read a line as Compose writes it; what would move a terminal's cursor is left out. Pure."""
    line = _CONTROL.sub("", line)
    found = _LINE.fullmatch(line)
    return Line(found["container"], found["at"], found["text"]) if found else Line("", "", line)


def mask(text: str, hidden: Sequence[str]) -> str:
    """Return the text without these values. Pure."""
    for value in hidden:
        text = text.replace(value, "***")
    return text


def _hidden(fleet: Fleet, slug: str) -> tuple[str, ...]:
    """Every value of the client's store, longest first: one may hold another."""
    try:
        store = secrets.open_store(fleet.client(slug), secrets.identities())
    except ManifestError as error:
        raise ManifestError(
            f"{error.message}; and what they are could not be masked in its logs",
            hint=error.hint,
            details=error.details,
        ) from error
    return tuple(sorted(masked([store.values]), key=len, reverse=True))


def _check(wish: Wish) -> None:
    if not _TAIL.fullmatch(wish.tail):
        raise UsageError(f"--tail {wish.tail!r} is no number of lines", hint="such as --tail 200, or --tail all")
    if wish.since and not _SINCE.fullmatch(wish.since):
        raise UsageError(
            f"--since {wish.since!r} is no time", hint="such as --since 10m, or --since 2026-11-21T15:00:00Z"
        )
