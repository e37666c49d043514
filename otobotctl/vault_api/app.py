"""The whole ASGI application: the guard, the edge, and the routes of a vault that opens with the server."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING

from . import logs
from .access.edge import Edge
from .errors import unavailable
from .guard import App, Guard, Receive, Scope, Send
from .hot import Hot
from .routes import ENDPOINTS
from .routing import application

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .configuration import Settings
    from .vault import Vault


def build(opening: Callable[[], Awaitable[Vault]], settings: Settings, hot: Hot | None = None) -> App:
    """The application of the vault that `opening` opens when the server starts; `hot` gets it too."""
    whole: App = _Whole(opening, hot or Hot())
    if settings.trusted_proxies or settings.allowed_origins:  # otherwise not even a look at the headers
        whole = Edge(whole, settings.trusted_proxies, settings.allowed_origins)
    return Guard(whole)


class _Whole:
    """Opens the vault with the server, and closes it."""

    def __init__(self, opening: Callable[[], Awaitable[Vault]], hot: Hot) -> None:
        self._opening = opening
        self._hot = hot
        self._rest: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        if self._rest is None:
            raise unavailable()
        await self._rest(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            vault = await self._opening()
        except Exception as error:  # noqa: BLE001 - told by type; the text may quote a row
            logs.event("start_failed", 40, **logs.describe(error))
            await send({"type": "lifespan.startup.failed", "message": type(error).__name__})
            return
        self._rest, self._hot.vault = application(vault, ENDPOINTS), vault
        # What is there now stays, and no collection need look at it again, which would take a while: a read makes none
        # necessary, the other endpoints do.
        gc.collect()
        gc.freeze()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        self._rest = self._hot.vault = None
        await vault.close()
        await send({"type": "lifespan.shutdown.complete"})


def of(settings: Settings, hot: Hot | None = None) -> App:
    """The application of these settings."""
    from .vault import Vault

    def opening() -> Awaitable[Vault]:
        return Vault.open(settings)

    return build(opening, settings, hot)
