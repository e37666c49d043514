"""The operator's own machine as a door (address "local"): the same protocol without ssh."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from otobotctl.errors import HostUnreachableError
from otobotctl.transport.channel import Line, ProcessChannel, piped

if TYPE_CHECKING:
    import subprocess


LOCAL = "local"


class LocalDoor:
    """A Door that runs commands here, as the user who called."""

    def __init__(self, name: str = LOCAL) -> None:
        self.name = name
        self._channels: weakref.WeakSet[ProcessChannel] = weakref.WeakSet()

    def execute(self, argv: tuple[str, ...], *, silence_s: float = 15.0) -> ProcessChannel:
        """Start one execution. A program that does not exist ends with status 127, as it does over ssh."""
        line = Line(
            spawn=lambda: _start(argv),
            failure=lambda status, said, opened: None,  # noqa: ARG005  # the status is always the command's own
            silent=lambda seconds: HostUnreachableError(
                f"{self.name}: {argv[0]} said nothing for {seconds:.0f} s", hint="run the same command again"
            ),
            drop=lambda: None,
            never_opened=lambda said: False,  # noqa: ARG005
        )
        channel = ProcessChannel(line, silence_s)
        self._channels.add(channel)
        return channel

    def renew(self) -> None:
        """There is no login."""

    def close(self) -> None:
        """End what still runs."""
        for channel in list(self._channels):
            channel.close()


def _start(argv: tuple[str, ...]) -> subprocess.Popen[bytes]:
    try:
        return piped(argv)
    except FileNotFoundError:
        return piped(("sh", "-c", 'echo "$0: not found" >&2; exit 127', argv[0]))
