"""What every door to a machine offers: run one command, feed its stdin, read its lines."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Finished:
    """How an execution ended: its exit status and the last of its stderr (at most 64 KiB, bad bytes replaced)."""

    status: int
    stderr: str


class Channel(Protocol):
    """One running execution. Not thread-safe. Reading raises HostUnreachableError when the line is lost or silent."""

    def send(self, data: bytes) -> None:
        """Write to the command's stdin; blocks while the window is full."""

    def lines(self) -> Iterable[bytes]:
        """stdout, line by line without the newline, as it arrives, to its end."""

    def read(self, size: int) -> bytes:
        """The next `size` bytes of stdout as they are; fewer only where it ends. Between two lines of `lines`."""

    def finish(self) -> Finished:
        """Wait for the exit status."""

    def close(self) -> None:
        """Drop the execution; the remote side sees its stdin and stdout closed."""


class Door(Protocol):
    """A machine that can run commands."""

    name: str

    def execute(self, argv: tuple[str, ...], *, silence_s: float = 15.0) -> Channel:
        """Start one remote execution. `silence_s`: no byte for so long means the line is dead."""

    def renew(self) -> None:
        """Make the next execution log in anew."""

    def close(self) -> None:
        """Give the connection back."""


Opener = Callable[[], Door]
