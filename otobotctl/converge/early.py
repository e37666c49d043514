"""The first execution begins while what to ask is still being worked out: logging in takes as long as rendering."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from otobotctl.converge import pack

if TYPE_CHECKING:
    from otobotctl.transport.base import Channel, Door, Opener


class EarlyDoor:
    """A Door whose first execution is under way: every execution of the engine has the same command line."""

    def __init__(self, door: Door, *, with_password: bool) -> None:
        self.name = door.name
        self._door = door
        self._argv = pack.command(with_password=with_password)
        self._first: Channel | None = door.execute(self._argv)

    def execute(self, argv: tuple[str, ...], *, silence_s: float = 15.0) -> Channel:
        """Return the execution that is under way, once, if it is this one; else start one."""
        first, self._first = self._first, None
        if first is not None and argv == self._argv:
            return first
        if first is not None:
            first.close()
        return self._door.execute(argv, silence_s=silence_s)

    def renew(self) -> None:
        """Make the next execution log in anew."""
        self._end_first()
        self._door.renew()

    def close(self) -> None:
        """Give the connection back; an execution that nobody took ends, having changed nothing."""
        self._end_first()
        self._door.close()

    def _end_first(self) -> None:
        first, self._first = self._first, None
        if first is not None:
            first.close()


@contextmanager
def reaching(opener: Opener, *, with_password: bool) -> Iterator[Opener]:
    """Begin to log in, and give an opener whose first door is that login."""
    doors = [EarlyDoor(opener(), with_password=with_password)]
    try:
        yield lambda: doors.pop() if doors else opener()
    finally:
        for unused in doors:
            unused.close()
