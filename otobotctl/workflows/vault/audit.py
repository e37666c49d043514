"""The vault's audit: taken out page by page, and verified with an anchor that the fleet keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl import atomic
from otobotctl.vault_api import contract_admin as admin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otobotctl.fleet import Fleet
    from otobotctl.workflows.vault.door import VaultDoor

_PAGE = 500
_ANCHOR = "audit-anchor.json"


@dataclass(frozen=True)
class Verdict:
    """Whether the audit is whole. `broken`: each chain's first row that is not; `anchored`: there was an anchor."""

    client: str
    rows: int
    chains: int
    broken: tuple[str, ...]
    anchored: bool


def entries(vault: VaultDoor) -> Iterator[dict[str, Any]]:
    """Every entry, newest first."""
    before = ""
    while True:
        page = vault.ask("GET", f"{admin.AUDIT_PATH}?limit={_PAGE}{before}")
        yield from page["entries"]
        if page["next"] is None:
            return
        before = f"&before={page['next']}"


def export(vault: VaultDoor, path: Path) -> int:
    """Write every entry to a file, a JSON object a line; return how many."""
    lines = [json.dumps(entry, ensure_ascii=False) for entry in entries(vault)]
    atomic.write(path, "".join(f"{line}\n" for line in lines).encode(), 0o600)
    return len(lines)


def verify(fleet: Fleet, vault: VaultDoor) -> Verdict:
    """Verify every chain against itself and against the anchor of the last verification; a whole audit makes a new one.

    The anchor is `clients/<slug>/audit-anchor.json`, which belongs into the fleet's git repository: it is what shows a
    tail that somebody cut off who has the database and the keys.
    """
    place = fleet.client(vault.slug) / _ANCHOR
    anchor = json.loads(place.read_text())["heads"] if place.exists() else []
    said = vault.run("audit", "verify", *(["--anchor"] if anchor else []), stdin=json.dumps(anchor), failing=True)
    found = json.loads(said)
    if not found["broken"]:
        place.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(place, (json.dumps({"version": 1, "heads": found["heads"]}, indent=1) + "\n").encode(), 0o644)
    return Verdict(vault.slug, found["rows"], found["streams"], tuple(found["broken"]), bool(anchor))
