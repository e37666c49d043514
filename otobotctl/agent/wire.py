"""The agent's end of the line: whole records on the caller's stdout, and a beat that never falls into one."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from otobotctl.agent.lines import decode, encode


class RefusedError(Exception):
    """The request cannot be served; ends the exchange with an error line."""

    def __init__(self, code: str, message: str, holder: Optional[Dict[str, Any]] = None) -> None:
        super().__init__(message)
        self.code = code
        self.holder = holder


class Wire:
    """Writes records to a descriptor, and hears the caller on `ear`. Raises BrokenPipeError when nobody listens."""

    def __init__(self, descriptor: int, ear: int = -1) -> None:
        self.descriptor = descriptor
        self.alone = False  # a beat that nobody hears is no failure
        self._ear = ear
        self._busy = False

    def send(self, record: Dict[str, Any]) -> None:
        """Write one record."""
        self.raw(encode(record))

    def raw(self, *parts: bytes) -> None:
        """Write whole lines, or a line and the bytes that it announces; nothing comes between them."""
        self._busy = True
        for part in parts:
            rest = memoryview(part)
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
        self._busy = False

    def block(self, data: bytes, source: int = 1) -> None:
        """Write bytes as they are, behind a record with their number; `source` 2: a command's stderr."""
        self.raw(encode({"block": len(data), **({"of": source} if source != 1 else {})}), data)

    def hear(self) -> Dict[str, Any]:
        """Wait for a line of the caller. Raises BrokenPipeError when none comes any more."""
        heard = b""
        while True:
            data = os.read(self._ear, 4096)
            if not data:
                raise BrokenPipeError
            heard += data
            *lines, heard = heard.split(b"\n")
            for line in lines:
                if line.startswith(b"{"):
                    found: Dict[str, Any] = decode(line)
                    return found

    def beat(self, *_: object) -> None:
        """Handle SIGALRM: say that the agent lives, unless a record is being written, which says so itself."""
        if self._busy:
            return
        try:
            os.write(self.descriptor, b'{"beat":true}\n')
        except BrokenPipeError:
            if not self.alone:
                raise
