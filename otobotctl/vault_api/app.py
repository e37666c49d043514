"""The whole ASGI application: the guard, the hot route, and everything else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

import msgspec
import psycopg

from . import contract, inputs, logs
from .access.edge import Edge
from .admission import reader
from .errors import Problem, unauthorized, unavailable, unexpected
from .guard import App, Guard, Receive, Scope, Send, answer, send_json
from .reads import Asked
from .routes import ENDPOINTS
from .routes.internal import credentials
from .routing import application

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .configuration import Settings
    from .vault import Vault

_HOT: Final = re.compile(r"/api/internal/user/([^/]+)/credentials/([^/]+)")
_TOKEN: Final = contract.TOKEN_HEADER.encode()
_NODE: Final = contract.NODE_HEADER.encode()
_ENCODE: Final = msgspec.json.Encoder().encode


def build(opening: Callable[[], Awaitable[Vault]], settings: Settings) -> App:
    """The application of the vault that `opening` opens when the server starts."""
    whole: App = _Whole(opening)
    if settings.trusted_proxies or settings.allowed_origins:  # otherwise not even a look at the headers
        whole = Edge(whole, settings.trusted_proxies, settings.allowed_origins)
    return Guard(whole)


class _Whole:
    """Opens the vault with the server, and sends a credential read straight to it."""

    def __init__(self, opening: Callable[[], Awaitable[Vault]]) -> None:
        self._opening = opening
        self._vault: Vault | None = None
        self._rest: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self._vault is None or self._rest is None:
            raise unavailable()
        if scope["method"] == "GET":
            match = _HOT.fullmatch(scope["path"])
            if match:
                scope["route_name"] = "read"
                await _read(self._vault, match[1], match[2], scope, send)
                return
        await self._rest(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            self._vault = await self._opening()
        except Exception as error:  # noqa: BLE001 - told by type; the text may quote a row
            logs.event("start_failed", 40, **logs.describe(error))
            await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
            return
        self._rest = application(self._vault, ENDPOINTS)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        vault, self._vault = self._vault, None
        await vault.close()
        await send({"type": "lifespan.shutdown.complete"})


async def _read(vault: Vault, user: str, service: str, scope: Scope, send: Send) -> None:
    """The endpoint `read` without what the other endpoints need: no Request, no Call, no route table."""
    try:
        headers = dict(scope["headers"])
        actor = reader(vault, headers.get(_NODE, b""), headers.get(_TOKEN, b""))
        if actor is None:
            await vault.limits.guess(scope["caller_address"])
            raise unauthorized()
        vault.limits.internal.take()
        asked = Asked(
            inputs.identity(user, "user"),
            inputs.service_code(service),
            scope["request_id"],
            actor,
            scope["caller_address"],
        )
        await send_json(send, 200, _ENCODE(await credentials(vault, asked)))
    except Problem as problem:
        await answer(send, problem)
    except psycopg.OperationalError as error:
        logs.failed(error, scope["request_id"])
        await answer(send, unavailable())
    except (psycopg.Error, LookupError) as error:
        logs.failed(error, scope["request_id"])
        await answer(send, unexpected())


def of(settings: Settings) -> App:
    """The application of these settings."""
    from .vault import Vault

    def opening() -> Awaitable[Vault]:
        return Vault.open(settings)

    return build(opening, settings)
