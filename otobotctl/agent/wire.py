"""The agent's end of the line: whole records on the caller's stdout, and a beat that never falls into one."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from otobotctl.agent.protocol import encode


class RefusedError(Exception):
    """The request cannot be served; ends the exchange with an error line."""

    def __init__(self, code: str, message: str, holder: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.code = code
        self.holder = holder


class Wire:
    """Writes records to a descriptor. Raises BrokenPipeError when nobody listens any more."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._busy = False

    def send(self, record: Dict[str, Any]) -> None:
        """Write one record."""
        self.raw(encode(record))

    def raw(self, data: bytes) -> None:
        """Write whole lines."""
        rest = memoryview(data)
        self._busy = True
        while rest:
            rest = rest[os.write(self.descriptor, rest) :]
        self._busy = False

    def beat(self, *_: object) -> None:
        """Handle SIGALRM: say that the agent lives, unless a record is being written, which says so itself."""
        if not self._busy:
            os.write(self.descriptor, b'{"beat":true}\n')
