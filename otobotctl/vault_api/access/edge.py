"""The ring that knows the world outside: the caller's address behind our proxies, and which web pages may call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from .address import client_address
from .cors import Headers, answering, is_preflight, preflight

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]


class Edge:
    """Wraps an application: sets `caller_address` in the scope, answers preflights, marks answers for allowed pages."""

    def __init__(self, app: App, hops: int, origins: Collection[str]) -> None:
        self._app = app
        self._hops = hops
        self._origins = frozenset(origins)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass one request through, or answer its preflight."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if self._hops:
            peer = scope["client"][0] if scope.get("client") else ""
            scope["caller_address"] = client_address(peer, _all(scope, b"x-forwarded-for"), self._hops)
        origin = _first(scope, b"origin")
        if origin is None or not self._origins:
            await self._app(scope, receive, send)
            return
        asked = _first(scope, b"access-control-request-method")
        if is_preflight(scope["method"], origin, asked):
            scope["route_name"] = "preflight"
            status, headers = preflight(origin, asked or "", self._origins)
            await send({"type": "http.response.start", "status": status, "headers": _raw(headers)})
            await send({"type": "http.response.body", "body": b""})
            return
        added = _raw(answering(origin, self._origins))

        async def marking(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message.get("headers", ()), *added]
            await send(message)

        await self._app(scope, receive, marking)


def _all(scope: Message, name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in scope["headers"] if key == name]


def _first(scope: Message, name: bytes) -> str | None:
    return next(iter(_all(scope, name)), None)


def _raw(headers: Headers) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
