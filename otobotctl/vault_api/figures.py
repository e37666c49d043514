"""What the refresher shows: /metrics for Prometheus and /health, to whoever reaches its port.

A server of a few lines, because the refresher asks and is not asked: it reads one head, answers and closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from . import contract, metrics
from .connections import states

if TYPE_CHECKING:
    from .vault import Vault

STALE: Final = timedelta(minutes=5)  # a mark is left each minute
_LIMIT_S: Final = 5.0
_HEAD_BYTES: Final = 8192
_REASONS: Final = {200: "OK", 404: "Not Found", 503: "Service Unavailable"}


class Figures:
    """What is known of one refresher; `marked` after each look."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._marked_at: datetime | None = None

    def marked(self, due: int, overdue: int) -> None:
        """A look has come to its end, or a long one goes on."""
        self._marked_at = datetime.now(UTC)
        metrics.SWEPT.set(self._marked_at.timestamp())
        metrics.DUE.labels("due").set(due)
        metrics.DUE.labels("overdue").set(overdue)

    @contextlib.asynccontextmanager
    async def served(self, port: int) -> AsyncIterator[None]:
        """Answer on `port` until the end of the block; 0: on none."""
        if not port:
            yield
            return
        everywhere = "0.0.0.0"  # noqa: S104 - inside its container; Compose publishes it nowhere
        server = await asyncio.start_server(self._serve, everywhere, port, limit=_HEAD_BYTES)
        async with server:
            yield

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(TimeoutError, OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            async with asyncio.timeout(_LIMIT_S):
                line = (await reader.readuntil(b"\r\n\r\n")).partition(b"\r\n")[0]
                status, kind, body = await self._answer(line)
                head = (
                    f"HTTP/1.1 {status} {_REASONS[status]}\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n"
                    "cache-control: no-store\r\nconnection: close\r\n\r\n"
                )
                writer.write(head.encode() + body)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()

    async def _answer(self, line: bytes) -> tuple[int, str, bytes]:
        if line.startswith(b"GET " + contract.METRICS_PATH.encode() + b" "):
            await states(self._vault)
            return 200, metrics.CONTENT_TYPE, metrics.exposition()
        if line.startswith(b"GET " + contract.HEALTH_PATH.encode() + b" "):
            well = self._marked_at is not None and datetime.now(UTC) - self._marked_at < STALE
            said = {"status": "ok" if well else "unavailable", "service": contract.REFRESHER}
            return 200 if well else 503, "application/json", json.dumps(said).encode()
        return 404, "application/json", b'{"error": "Path not found", "code": "path_not_found"}'
