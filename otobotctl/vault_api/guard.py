"""The outermost ring: who may pass, how much may be sent, what every answer carries, and what is logged of it."""

from __future__ import annotations

import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from hashlib import sha256
from typing import Any
from uuid import UUID, uuid4

import psycopg

from . import contract, logs

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

_UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_ALWAYS = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_TOKEN = contract.TOKEN_HEADER.encode()
_REQUEST = contract.REQUEST_HEADER.encode()


class TooLargeError(Exception):
    """The body is larger than MAX_BODY_BYTES."""


class Gate:
    """Knows the digests of the valid internal tokens, and takes the same time for every answer."""

    def __init__(self, tokens: tuple[str, ...]) -> None:
        self._digests = tuple(sha256(token.encode()).digest() for token in tokens)

    def admits(self, presented: bytes) -> bool:
        """Whether this token is one of the valid ones."""
        digest = sha256(presented).digest()
        # Every digest is compared, so that the time does not tell which one matched.
        return any([hmac.compare_digest(digest, valid) for valid in self._digests])  # noqa: C419


class Guard:
    """Wraps an ASGI application, which finds scope["request_id"] and may set scope["route_name"] for the log."""

    def __init__(self, app: App, gate: Gate) -> None:
        self._app = app
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        request = _request_id(headers.get(_REQUEST, b""))
        scope["request_id"] = request
        status = 0

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *_ALWAYS, (_REQUEST, str(request).encode())]
            await send(message)

        try:
            await self._pass(scope, receive, answering, headers)
        except Exception as error:  # noqa: BLE001 - the last net: answered without a word of the exception
            logs.event("request_failed", logging.ERROR, request=request, **logs.describe(error))
            if not status:
                await answer(answering, *failure(error))
        finally:
            took_ms = round((time.perf_counter() - began) * 1000, 2)
            route = scope.get("route_name", "other")
            # Health is asked every few seconds; only its failures are news.
            level = logging.DEBUG if route == "health" and status == 200 else logging.INFO  # noqa: PLR2004
            logs.event(
                "request", level, request=request, method=scope["method"], route=route, status=status, took_ms=took_ms
            )

    async def _pass(self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]) -> None:
        if scope["path"] != contract.HEALTH_PATH and not self._gate.admits(headers.get(_TOKEN, b"")):
            await answer(send, 401, {"error": "Unauthorized"})
            return
        length = headers.get(b"content-length", b"0")
        if not length.isdigit() or int(length[:10]) > contract.MAX_BODY_BYTES:
            raise TooLargeError
        await self._app(scope, _limited(receive), send)


def _request_id(text: bytes) -> UUID:
    return UUID(text.decode()) if _UUID.fullmatch(text) else uuid4()


def _limited(receive: Receive) -> Receive:
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > contract.MAX_BODY_BYTES:  # a chunked body announces no length
            raise TooLargeError
        return message

    return counting


def failure(error: Exception) -> tuple[int, dict[str, Any]]:
    """How an exception that no route expected is answered: a status and a body without a word of it."""
    if isinstance(error, TooLargeError):
        return 413, {"error": f"The body may hold {contract.MAX_BODY_BYTES} bytes at most"}
    if isinstance(error, psycopg.OperationalError | LookupError):  # the pool's own errors are OperationalErrors
        return 503, {"error": "The vault cannot answer now, try again", "hasCredentials": False}
    return 500, {"error": "Internal error", "hasCredentials": False}


async def answer(send: Send, status: int, document: Any) -> None:
    """Send a whole JSON answer."""
    body = json.dumps(document, separators=(",", ":")).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if status == 503:  # noqa: PLR2004
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
