"""The one request that n8n makes all day, recognised in its bytes and answered without a framework.

A read through uvicorn, the guard and the routes costs more than twice what it costs here, for a task, a dozen
dictionaries and a parser that must know all of HTTP. Only the request in its plainest form comes this way: one head,
whole, with headers that change nothing, from a caller whose token is good and whose limit is not used up. Everything
else, and so every refusal of a caller, goes the general way, where a read is answered the same (a test compares them).
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from . import contract, guard
from .admission import reader
from .errors import Problem
from .reading import Asked
from .reads import Found
from .routes.internal import readable, settled, shown
from .routing import refusal

if TYPE_CHECKING:
    from .reads import Outcome, Waiting
    from .vault import Vault

_UUID: Final = rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_LINE: Final = re.compile(
    b"GET "
    + contract.CREDENTIALS_PATH.encode()
    .replace(b"{user}", b"(" + _UUID + b")")
    .replace(b"{service}", rb"([a-z][a-z0-9_-]{0,63})")
    + rb" HTTP/1\.1\r\n"
)
_PLAIN: Final = re.compile(rb"(?:[!-9;-~]+: [ -~]*\r\n)*\r\n")
_TOKEN: Final = contract.TOKEN_HEADER.encode()
_NODE: Final = contract.NODE_HEADER.encode()
_REQUEST: Final = contract.REQUEST_HEADER.encode()
# Whatever these say, a read is answered the same; n8n and its node send them. Of a page's, a proxy's or a body's
# headers, which change an answer or an address, none is here.
_NAMES: Final = (
    "accept accept-encoding accept-language cache-control connection content-type host user-agent x-client-id"
)
_HARMLESS: Final = frozenset((*_NAMES.encode().split(), _NODE, _TOKEN, _REQUEST))
_AFTER: Final = (b"keep-alive", b"close")
_ALWAYS: Final = b"".join(b"%s: %s\r\n" % pair for pair in guard.ALWAYS)
_ENCODE: Final = msgspec.json.Encoder().encode


class Fields:
    """What a request's headers say that a read must know."""

    __slots__ = ("block", "last", "node", "request", "token")

    def __init__(self, block: bytes, *, node: bytes, token: bytes, request: str, last: bool) -> None:
        self.block = block
        self.node = node
        self.token = token
        self.request = request
        self.last = last  # of its connection


def fields(block: bytes) -> Fields | None:
    """The headers of a request, from behind its first line; None where there is any that is not harmless."""
    if not _PLAIN.fullmatch(block):
        return None
    found: dict[bytes, bytes] = {}
    for line in block[:-4].split(b"\r\n"):
        name, _, value = line.partition(b": ")
        name = name.lower()
        if name not in _HARMLESS or name in found:
            return None
        found[name] = value.strip()
    after = found.get(b"connection", b"keep-alive").lower()
    if after not in _AFTER:
        return None
    request = found.get(_REQUEST, b"")
    named = request.decode() if re.fullmatch(_UUID, request) else ""
    node, token = found.get(_NODE, b""), found.get(_TOKEN, b"")
    return Fields(block, node=node, token=token, request=named, last=after == b"close")


class Hot:
    """Reads of one vault, which is there once the server has started."""

    def __init__(self) -> None:
        self.vault: Vault | None = None

    def begin(
        self, head: bytes, before: Fields | None, address: str, send: Callable[[bytes], None]
    ) -> tuple[Reading, Fields] | None:
        """Begin to answer a read through `send`, or None: this goes the general way.

        Most requests of a connection have the headers of the one `before`, which then are not taken apart again.
        """
        vault, match = self.vault, _LINE.match(head)
        if vault is None or match is None:
            return None
        block = head[match.end() :]
        given = before if before is not None and before.block == block else fields(block)
        if given is None:
            return None
        actor = reader(vault, given.node, given.token)
        if actor is None or not readable(vault, actor):
            return None
        try:
            vault.limits.internal.take()
            asked = Asked(match[1].decode(), match[2].decode(), given.request or _new_id(), actor, address)
            return Reading(vault, asked, send, last=given.last), given
        except Problem:  # too many: the general way says so
            return None


class Reading:
    """One read on its way."""

    __slots__ = ("_asked", "_began", "_rest", "_send", "_vault", "_waiting", "last")

    def __init__(self, vault: Vault, asked: Asked, send: Callable[[bytes], None], *, last: bool) -> None:
        self.last = last
        self._began = time.perf_counter()
        self._vault = vault
        self._asked = asked
        self._send = send
        self._rest: asyncio.Task[None] | None = None
        self._waiting: Waiting = vault.reads.ask(asked, self._tell)

    def drop(self) -> None:
        """Nobody waits for it any more."""
        self._waiting.dropped = True

    def _tell(self, outcome: Outcome | Exception) -> None:
        if isinstance(outcome, Found) and not self._vault.refresh.due(outcome):
            self._answer(200, _ENCODE(shown(outcome)))
        else:  # a refusal, or a token to renew first: rare, and the same as for everybody
            self._rest = asyncio.create_task(self._settle(outcome), name="read")

    async def _settle(self, outcome: Outcome | Exception) -> None:
        try:
            async with asyncio.timeout(guard.REQUEST_LIMIT_S):
                body = _ENCODE(await settled(self._vault, self._asked, outcome))
        except Exception as error:  # noqa: BLE001 - a defect is answered too, without a word of it
            problem = refusal(error, self._asked.request)
            self._answer(problem.status, _ENCODE(problem.body()), problem.headers)
        else:
            self._answer(200, body)

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        more = "".join([f"{name}: {value}\r\n" for name, value in headers.items()]) if headers else ""
        if self.last:
            more += "connection: close\r\n"
        head = (
            f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\ncontent-length: {len(body)}\r\n{more}"
            f"content-type: application/json\r\n{contract.REQUEST_HEADER}: {self._asked.request}\r\n"
        )
        self._send(b"%s%s\r\n%s" % (head.encode(), _ALWAYS, body))
        guard.told("read", "GET", self._asked.request, status, time.perf_counter() - self._began)


def _new_id() -> str:
    """A random UUID, version 4."""
    text = os.urandom(16).hex()
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-8{text[17:20]}-{text[20:]}"
