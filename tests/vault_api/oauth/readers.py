"""What reads and refreshes in a test's own process, and waits there."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

from otobotctl.vault_api.actor import INTERNAL
from otobotctl.vault_api.reads import Asked

AHEAD = timedelta(minutes=35)


async def read(vault, user):
    """What n8n gets."""
    return await vault.reads.read(Asked(str(user), "stub", str(user), INTERNAL))


async def refreshed(vault, connection, *, force=False):
    return await vault.refresh.start(connection, AHEAD, force=force)


async def until(condition):
    """Wait for a condition, in the event loop."""
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
