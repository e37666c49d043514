"""The vault's audit: taken out page by page, and verified with an anchor that the fleet keeps."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl import atomic
from otobotctl.errors import ManifestError
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
    anchor = _anchor(place)
    said = vault.run("audit", "verify", *(["--anchor"] if anchor else []), stdin=json.dumps(anchor), failing=True)
    found = json.loads(said)
    if not found["broken"]:
        place.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(place, (json.dumps({"version": 1, "heads": found["heads"]}, indent=1) + "\n").encode(), 0o644)
    return Verdict(vault.slug, found["rows"], found["streams"], tuple(found["broken"]), bool(anchor))


def _anchor(place: Path) -> list[list[Any]]:
    """The heads of the last verification; none where there was no whole one yet."""
    if not place.exists():
        return []
    try:
        heads = json.loads(place.read_text())["heads"]
        return [[str(stream), int(sequence), str(mac)] for stream, sequence, mac in heads]
    except (OSError, ValueError, TypeError, LookupError) as error:
        # Verifying without it, and writing a new one, would hide just what it is there to show.
        hint = f"bring it back, such as: git restore {place}"
        raise ManifestError(f"{place} is damaged: it is what shows a tail that was cut", hint=hint) from error
