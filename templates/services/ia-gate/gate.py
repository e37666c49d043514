"""Tells the proxy of IA Interne whose key a request shows: 200 with the caller's name, or 401, 429, 503.

It is asked before every request (Caddy's forward_auth) and sees headers alone. It knows the keys by their SHA-256 only:
they are 256 random bits, so a digest of them tells nobody anything. The list is read again whenever it has been
written, so a key is given or taken without a restart. Standard library only.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEYS = "/etc/ia/keys.json"  # {"callers": [{"name", "purpose", "sha256": [...], "per_minute"}]}
PORT = 8080
IDLE_S = 120
HEAD = 64 * 1024  # bytes of a request's head, what Caddy sends at most
OK = 200

Headers = dict[str, str]


class RefusedError(Exception):
    """The answer is a refusal: status, reason and the headers that go with it."""

    def __init__(self, status: int, reason: str, headers: Headers) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.headers = headers


class Keys:
    """The callers by the digest of their keys, as the file says now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.seen: tuple[int, ...] | None = None
        self.callers: dict[str, dict[str, Any]] | None = None

    def caller(self, key: str) -> dict[str, Any]:
        """The caller who has this key. Raises RefusedError; nobody gets in while the list cannot be read."""
        self._look()
        if self.callers is None:
            raise RefusedError(503, "Service Unavailable", {"Retry-After": "5"})
        found = self.callers.get(hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest())
        if found is None:
            raise RefusedError(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})
        return found

    def _look(self) -> None:
        try:
            found = self.path.stat()
            seen = (found.st_mtime_ns, found.st_ino, found.st_size)
            if seen == self.seen:
                return
            listed = json.loads(self.path.read_text(encoding="utf-8"))["callers"]
            self.callers = {digest: each for each in listed for digest in each["sha256"]}
            self.seen = seen
            print(f"{len(listed)} callers", flush=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            # What was true before may have been revoked: let nobody in rather than somebody who may not.
            self.callers = self.seen = None
            print(f"{self.path}: {type(error).__name__}", file=sys.stderr, flush=True)


class Rates:
    """How many requests each caller has left: a bucket that fills evenly, as large as a minute."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self.now = now
        self.left: dict[str, tuple[float, float]] = {}

    def take(self, name: str, per_minute: int) -> None:
        """Take one. Raises RefusedError when there is none; 0 a minute means no limit."""
        if not per_minute:
            return
        now = self.now()
        left, since = self.left.get(name, (per_minute, now))
        left = min(per_minute, left + (now - since) * per_minute / 60)
        if left < 1:
            self.left[name] = (left, now)
            wait_s = int((1 - left) * 60 / per_minute) + 1
            raise RefusedError(429, "Too Many Requests", {"Retry-After": str(wait_s)})
        self.left[name] = (left - 1, now)


class Gate:
    """Answers one question a request, on connections that stay."""

    def __init__(self, keys: Keys, rates: Rates) -> None:
        self.keys = keys
        self.rates = rates

    def judge(self, headers: Headers) -> dict[str, Any]:
        """The caller's name and purpose. Raises RefusedError."""
        scheme, _, key = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not key:
            raise RefusedError(401, "Unauthorized", {"WWW-Authenticate": "Bearer"})
        caller = self.keys.caller(key.strip())
        self.rates.take(caller["name"], caller.get("per_minute", 0))
        return caller

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection of the proxy, until it goes."""
        try:
            while True:
                head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), IDLE_S)
                path, headers = read(head)
                writer.write(self.answer(path, headers))
                await writer.drain()
                if headers.get("connection", "").lower() == "close" or "content-length" in headers:
                    break  # no question has a body; with one, what follows could be taken for the next
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ValueError, OSError):
            pass
        finally:
            writer.close()

    def answer(self, path: str, headers: Headers) -> bytes:
        """The bytes of the answer."""
        if path == "/health":
            return told(OK, "OK", {})
        try:
            caller = self.judge(headers)
        except RefusedError as refused:
            return told(refused.status, refused.reason, refused.headers)
        return told(OK, "OK", {"X-Otobot-Caller": f"{caller['name']}/{caller['purpose']}"})


def read(head: bytes) -> tuple[str, Headers]:
    """The path and the headers, lower case, of a request's head. Raises ValueError; a repeated key is refused."""
    lines = head.decode("latin-1").split("\r\n")
    _, path, _ = lines[0].split(" ", 2)
    headers: Headers = {}
    for line in lines[1:]:
        if line:
            name, colon, value = line.partition(":")
            name = name.strip().lower()
            if not colon or (name == "authorization" and name in headers):
                raise ValueError("a head that could be read in two ways")
            headers[name] = value.strip()
    return path, headers


def told(status: int, reason: str, headers: Headers) -> bytes:
    """An answer; a refusal says its reason as text."""
    body = b"" if status == OK else f"{reason}\n".encode()
    lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(body)}", "Content-Type: text/plain"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def main(path: Path, host: str, port: int) -> None:
    """Answer until SIGTERM."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # a container may begin with 1024
    gate = Gate(Keys(path), Rates())
    server = await asyncio.start_server(gate.serve, host, port, limit=HEAD, backlog=4096)
    ended = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, ended.set)
    print(f"listening on {port}", flush=True)
    await ended.wait()
    server.close()


if __name__ == "__main__":
    where = os.environ.get("IA_LISTEN", "0.0.0.0")  # noqa: S104 - of a container that publishes nothing
    asyncio.run(main(Path(os.environ.get("IA_KEYS", KEYS)), where, int(os.environ.get("IA_PORT", str(PORT)))))
