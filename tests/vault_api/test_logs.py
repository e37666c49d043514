"""What may stand in a log: our own fields, and of other libraries nothing that could quote data."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import logging

import pytest

from otobotctl.vault_api import logs

SECRET = "ya29.secret-of-a-user"


@pytest.fixture
def stream():
    """What is logged; afterwards the loggers are as they were."""
    root, vault = logging.getLogger(), logging.getLogger("vault")
    before = root.handlers[:], root.level, vault.level
    found = io.StringIO()
    logs.start("info", found)
    yield found
    root.handlers[:], level, vault_level = before
    root.setLevel(level)
    vault.setLevel(vault_level)


def test_an_exception_that_nobody_asked_for_is_told_without_its_text(stream):
    """Asyncio writes the exception into its message itself, where no argument tells it from a template."""

    async def fail():
        raise ValueError(SECRET)

    async def story():
        task = asyncio.create_task(fail())
        await asyncio.wait({task})
        del task
        gc.collect()
        asyncio.get_running_loop().call_exception_handler({"message": "A callback failed", "what": SECRET})

    asyncio.run(story())
    text = stream.getvalue()
    assert SECRET not in text
    events = [json.loads(line)["event"] for line in text.splitlines()]
    assert events == ["Task exception was never retrieved", "A callback failed"]
    assert json.loads(text.splitlines()[0])["error"] == "ValueError"
