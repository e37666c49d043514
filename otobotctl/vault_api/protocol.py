"""uvicorn's HTTP protocol with bounds on the head of a request, and a short way for the one that is hot."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    from .hot import Fields, Hot, Reading

HEAD_BYTES: Final = 16 * 1024
HEAD_LIMIT_S: Final = 10.0
_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class _Joining:
    """A transport that sends what is written in one turn of the loop at once.

    uvicorn writes the head and the body of an answer apart: two calls of the kernel, and two wake-ups of the caller.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._waiting: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send it at the end of this turn."""
        if not self._waiting:
            self._loop.call_soon(self._flush)
        self._waiting.append(data)

    def write_now(self, data: bytes) -> None:
        """Send it behind what waits."""
        self._flush()
        self._transport.write(data)

    def close(self) -> None:
        """Send what waits, then close."""
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._waiting:
            data, self._waiting = b"".join(self._waiting), []
            self._transport.write(data)


class Bounded(HttpToolsProtocol):
    """A connection whose every head must come whole within HEAD_LIMIT_S and HEAD_BYTES."""

    def __init__(self, *arguments: Any, hot: Hot | None = None, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._hot = hot
        self._reading: Reading | None = None  # then nothing of this connection is uvicorn's
        self._fields: Fields | None = None
        self._next = b""  # what came meanwhile
        self._closing = False
        self._head = 0
        self._in_head = True
        self._begun = False  # a request whose end has not come; its first bytes may have come behind another
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for the first head from now on."""
        super().connection_made(cast("asyncio.Transport", _Joining(transport, self.loop)))
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._stop()
        if self._reading is not None:
            self._reading.drop()
            self._reading = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Count the head's bytes before they are parsed, unless it is a hot one."""
        if self._reading is not None:
            self._next += data
            if len(self._next) > HEAD_BYTES:
                self.flow.pause_reading()
            return
        if self._is_hot(data):
            return
        if self._in_head:
            if self._head == 0 and self._timer is None:
                self._expect_head()
            self._head += len(data)
            # What follows the head in the same packet is not the head's.
            if self._head > HEAD_BYTES and b"\r\n\r\n" not in data:
                self.transport.write(_TOO_LARGE)
                self.transport.close()
                return
        super().data_received(data)

    def on_message_begin(self) -> None:
        """The first byte of a head."""
        self._begun = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._stop()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The next bytes are another head; until the first of them, uvicorn's own idle limit holds."""
        super().on_message_complete()
        self._head, self._in_head, self._begun = 0, True, False

    def shutdown(self) -> None:
        """Close when the answer is out."""
        if self._reading is None:
            super().shutdown()
        else:
            self._closing = True

    def _is_hot(self, data: bytes) -> bool:
        """Whether this is a whole request between two others, and one that is answered the short way."""
        between = self._head == 0 and not self._begun and (self.cycle is None or self.cycle.response_complete)
        if self._hot is None or not between or len(data) > HEAD_BYTES or self.flow.write_paused:
            return False
        if self.limit_concurrency and len(self.connections) >= self.limit_concurrency:
            return False  # uvicorn refuses it
        address = self.client[0] if self.client else ""
        found = self._hot.begin(data, self._fields, address, self._answered)
        if found is None:
            return False
        self._reading, self._fields = found
        self._stop()
        self._unset_keepalive_if_required()
        return True

    def _answered(self, data: bytes) -> None:
        if self._reading is None or self.transport.is_closing():
            return
        closing, self._reading = self._closing or self._reading.last, None
        cast("_Joining", self.transport).write_now(data)
        self.on_response_complete()  # counts it, and waits for the next request as after any other
        if closing:
            self.transport.close()
        elif self._next:
            data, self._next = self._next, b""
            self.data_received(data)

    def _expect_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_LIMIT_S, self._late)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()
