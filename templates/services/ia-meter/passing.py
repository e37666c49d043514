"""One request on its way from the proxy to the engine and back, byte for byte and as it comes.

Each is a connection of its own, so that whoever leaves ends what is made for him, and nobody waits for another.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from counting import Answer, Asked, Framing, Headers

if TYPE_CHECKING:
    from meter import Meter

HEAD = 64 * 1024  # bytes of a head, what Caddy sends at most
DIAL_S = 10.0
COUNTED = ("chat", "completions", "generate", "embed", "embeddings")  # a path's last word
OK, UNREACHABLE = 200, 502
GONE = b'{"error":"the engine cannot be reached"}\n'


class Call(asyncio.Protocol):
    """The proxy's side of one request."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.transport: Any = None
        self.engine: Engine | None = None
        self.head = b""
        self.headers: Headers = {}
        self.path = self.caller = ""
        self.asked = Asked()
        self.framing: Framing | None = None
        self.at, self.began = time.time(), time.monotonic()
        self.counts = self.over = False

    def connection_made(self, transport: Any) -> None:
        """It is open."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """More of the question."""
        if self.engine is not None:
            self._scan(data)
            self.engine.transport.write(data)
            return
        self.head += data
        head, end, rest = self.head.partition(b"\r\n\r\n")
        if not end:
            if len(self.head) > HEAD:
                self.transport.abort()
            return
        try:
            sent = self._read(head)
        except ValueError:
            self.transport.abort()
            return
        self.transport.pause_reading()
        self._scan(rest)
        self.head = b""
        if self.path == "/health":
            self.over = True
            self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            self.transport.close()
            return
        self.counts = sent.startswith(b"POST ") and self.path.rpartition("/")[2] in COUNTED
        self.meter.begun(self)
        self.meter.spawn(self._dial(sent + b"\r\n\r\n" + rest))

    def _read(self, head: bytes) -> bytes:
        """The head as the engine gets it: the line, and the headers that are for it."""
        first, *lines = head.split(b"\r\n")
        _, path, _ = first.decode("latin-1").split(" ", 2)
        self.path = path.partition("?")[0]
        passed = [first]
        for line in lines:
            name, _, value = line.decode("latin-1").partition(":")
            self.headers[name.strip().lower()] = value.strip()
            if name.strip().lower() not in ("connection", "x-otobot-caller", "authorization", "accept-encoding"):
                passed.append(line)
        self.caller = self.headers.get("x-otobot-caller", "")
        self.framing = Framing(self.headers)
        return b"\r\n".join([*passed, b"Connection: close"])

    def _scan(self, data: bytes) -> None:
        if self.framing is not None and not self.asked.done and data:
            try:
                self.asked.feed(self.framing.feed(data))
            except ValueError:
                self.asked.done = True

    async def _dial(self, sent: bytes) -> None:
        loop = asyncio.get_running_loop()
        try:
            reached = loop.create_connection(lambda: Engine(self), *self.meter.engine)
            _, engine = await asyncio.wait_for(reached, DIAL_S)
        except (OSError, TimeoutError):
            head = f"HTTP/1.1 502 Bad Gateway\r\nContent-Type: application/json\r\nContent-Length: {len(GONE)}\r\n"
            self.transport.write(f"{head}Connection: close\r\n\r\n".encode() + GONE)
            self.finish(None, "unreachable")
            return
        if self.over:
            engine.transport.abort()
            return
        self.engine = engine
        engine.transport.write(sent)
        self.transport.resume_reading()

    def pause_writing(self) -> None:
        """The other side reads more slowly."""
        if self.engine is not None:
            self.engine.transport.pause_reading()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        if self.engine is not None:
            self.engine.transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        """The caller has what he wanted, or left."""
        self.finish(self.engine, "left")

    def finish(self, engine: Engine | None, end: str) -> None:
        """It has ended: both sides are closed, and its line is written, once."""
        if self.over:
            return
        self.over = True
        self.meter.ended(self)
        if engine is not None:
            engine.transport.abort()  # what the engine still makes for a caller who left ends here
        self.transport.close()
        if self.counts:
            self.meter.book.write(self.entry(engine, end))

    def entry(self, engine: Engine | None, end: str) -> dict[str, Any]:
        """Its line."""
        answer = engine.answer if engine else Answer()
        status = engine.status if engine else UNREACHABLE
        read, written, told = answer.tokens(engine.kind if engine else "")
        if end == "whole" and status == OK and answer.failed():
            end = "error"
        first = engine.first if engine else None
        return {
            "ts": round(self.at, 3),
            "caller": self.caller,
            "path": self.path,
            "model": self.asked.model or answer.model(),
            "status": status,
            "end": end,
            "tokens_in": read,
            "tokens_out": written,
            "told": told,
            "first_ms": None if first is None else round((first - self.began) * 1000, 1),
            "ms": round((time.monotonic() - self.began) * 1000, 1),
            "bytes": answer.size,
        }


class Engine(asyncio.Protocol):
    """The engine's side of one request."""

    def __init__(self, call: Call) -> None:
        self.call = call
        self.transport: Any = None
        self.head = b""
        self.status = UNREACHABLE
        self.kind = ""
        self.framing: Framing | None = None
        self.answer = Answer()
        self.first: float | None = None

    def connection_made(self, transport: Any) -> None:
        """It is open."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """More of the answer; it is passed on before it is looked at."""
        self.call.transport.write(data)
        try:
            if self.framing is None:
                data = self._headed(data)
            if self.framing is not None:
                self._body(self.framing, data)
        except ValueError:
            self.call.finish(self, "cut")

    def _headed(self, data: bytes) -> bytes:
        """What comes after the head, once that is whole."""
        self.head += data
        head, end, rest = self.head.partition(b"\r\n\r\n")
        if not end:
            return b""
        first, *lines = head.decode("latin-1").split("\r\n")
        self.status = int(first.split(" ", 2)[1])
        if self.status < 200:  # noqa: PLR2004 - 100 Continue: the answer is still to come
            self.head = b""
            return self._headed(rest)
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        self.kind = headers.get("content-type", "")
        self.framing, self.head = Framing(headers), b""
        return rest

    def _body(self, framing: Framing, data: bytes) -> None:
        piece = framing.feed(data)
        if piece:
            self.first = self.first or time.monotonic()
            self.answer.feed(piece)
        if framing.ended:
            self.call.finish(self, "whole")

    def pause_writing(self) -> None:
        """The other side reads more slowly."""
        self.call.transport.pause_reading()

    def resume_writing(self) -> None:
        """The other side has caught up."""
        self.call.transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        """The engine has said everything, or broke off."""
        whole = error is None and self.framing is not None and self.framing.left is None
        self.call.finish(self, "whole" if whole else "cut")
