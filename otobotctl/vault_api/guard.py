"""The outermost ring: how much and how long at most, what every answer carries, what is logged and counted."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from uuid import UUID, uuid4

import msgspec

from . import contract, logs, metrics
from .errors import Problem, too_large, unavailable, unexpected

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# Everything but the password hashes and a provider's answer takes milliseconds.
REQUEST_LIMIT_S: Final = 30.0

_UUID = re.compile(rb"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
ALWAYS: Final = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
_REQUEST = contract.REQUEST_HEADER.encode()
# Asked every few seconds, or audited one by one: news only when it goes wrong.
_QUIET = frozenset({"health", "ready", "metrics", "read"})


class Guard:
    """Wraps an application, which finds `request_id` and `caller_address` in the scope and may set `route_name`."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request through."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        headers = dict(scope["headers"])
        request = _request_id(headers.get(_REQUEST, b""))
        scope["request_id"] = request
        scope["caller_address"] = scope["client"][0] if scope.get("client") else ""
        status = 0

        async def answering(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), *ALWAYS, (_REQUEST, str(request).encode())]
            await send(message)

        try:
            async with asyncio.timeout(REQUEST_LIMIT_S):
                await self._app(scope, _limited(receive, headers), answering)
        except Problem as problem:
            if not status:
                await answer(answering, problem)
        except TimeoutError as error:
            logs.failed(error, request)
            if not status:
                await answer(answering, unavailable())
        except Exception as error:  # noqa: BLE001 - the last net: answered without a word of the exception
            logs.failed(error, request)
            if not status:
                await answer(answering, unexpected())
        finally:
            told(scope.get("route_name", "other"), scope["method"], request, status, time.perf_counter() - began)


def told(route: str, method: str, request: UUID | str, status: int, took_s: float) -> None:
    """Count and log an answer."""
    metrics.answered(route, method, status, took_s)
    level = logging.DEBUG if route in _QUIET and status < 500 else logging.INFO  # noqa: PLR2004
    if logs.wanted(level):
        took_ms = round(took_s * 1000, 2)
        logs.event("request", level, request=request, method=method, route=route, status=status, took_ms=took_ms)


def _request_id(text: bytes) -> UUID:
    return UUID(text.decode()) if _UUID.fullmatch(text) else uuid4()


def _limited(receive: Receive, headers: dict[bytes, bytes]) -> Receive:
    announced = headers.get(b"content-length", b"0")
    if not announced.isdigit() or int(announced[:10]) > contract.MAX_BODY_BYTES:
        return _refusing
    seen = 0

    async def counting() -> Message:
        nonlocal seen
        message = await receive()
        seen += len(message.get("body", b""))
        if seen > contract.MAX_BODY_BYTES:  # a chunked body announces no length
            raise too_large(contract.MAX_BODY_BYTES)
        return message

    return counting


async def _refusing() -> Message:
    raise too_large(contract.MAX_BODY_BYTES)


async def answer(send: Send, problem: Problem) -> None:
    """Send a refusal, whole."""
    await send_json(send, problem.status, msgspec.json.encode(problem.body()), problem.headers)


async def send_json(send: Send, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
    """Send a JSON answer, whole."""
    found = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    if headers:
        found += [(name.encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": status, "headers": found})
    await send({"type": "http.response.body", "body": body})
