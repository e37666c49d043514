"""What an operator has done inside the container: a new key, the audit verified, a restore proved. Answers in JSON."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
from typing import TYPE_CHECKING, Any

from . import contract, logs

if TYPE_CHECKING:
    from .configuration import Settings


def run(settings: Settings, arguments: argparse.Namespace) -> int:
    """Run one command and return its exit code: 0 well, 1 not well."""
    try:
        if arguments.command == "rewrap":
            answer, well = asyncio.run(_look(settings) if arguments.look else _rewrap(settings, arguments.progress))
        elif arguments.command == "prove":
            from . import proving

            answer = asyncio.run(proving.prove(settings))
            well = not answer["failed"]
        else:
            answer, well = asyncio.run(_verify(settings, json.load(sys.stdin) if arguments.anchor else []))
    except Exception as error:  # noqa: BLE001 - told by type: the text may quote a row
        logs.event("upkeep_failed", logging.ERROR, **logs.describe(error))
        return 1
    json.dump(answer, sys.stdout)
    print()
    return 0 if well else 1


async def _look(settings: Settings) -> tuple[dict[str, Any], bool]:
    """Which keys this process was given, and how many values need which of them."""
    from . import keys, rewrap
    from .database import Database

    database = Database(settings, size=1)
    await database.open()
    try:
        ring = await keys.load(database, settings.client, settings.master_keys, counted=0)
        left = await rewrap.count(database, ring.current)
    finally:
        await database.close()
    answer = {
        "version": ring.current,
        "key": contract.key_check(settings.master_keys[0].reveal()),
        "previous": len(settings.master_keys) - 1,
        "left": left,
    }
    return answer, True


async def _rewrap(settings: Settings, progress: bool) -> tuple[dict[str, Any], bool]:
    from . import rewrap
    from .actor import Actor
    from .vault import Vault

    vault = await Vault.open(settings)
    try:
        actor = Actor("operator", "rewrap")
        needed = await rewrap.count(vault.database, vault.keyring.current)

        def tell(sealed: int) -> None:
            if progress:
                print(json.dumps({"sealed": sealed, "of": sum(needed.values())}), flush=True)

        done = await rewrap.run(vault.database, vault.keyring, vault.audit, settings.client, actor, tell)
    finally:
        await vault.close()
    version = vault.keyring.current
    answer = {"version": version, "sealed": done.sealed, "left": dict(done.left), "retired": list(done.retired)}
    return answer, not done.left


async def _verify(settings: Settings, anchor: list[Any]) -> tuple[dict[str, Any], bool]:
    from .database import Database
    from .verify import Verifier

    database = Database(settings, size=1)
    await database.open()
    try:
        verdict = await Verifier(database, bytes.fromhex(settings.audit_key.reveal())).run(anchor)
    finally:
        await database.close()
    answer = {
        "rows": verdict.rows,
        "streams": verdict.streams,
        "broken": list(verdict.broken),
        "heads": [list(head) for head in verdict.heads],
    }
    return answer, not verdict.broken
