"""How large each archive is, in a list: archive.json says it, but a list reads none.

Tags cannot say it, because they are given before the last part is read. A host knows it of those that it has made
(sizes.json: {"disk": {"20261121T020003Z-9f31": 1048576}}), and restic from 0.17 on of every snapshot.
"""

from __future__ import annotations

import contextlib
import os
from typing import Any, Dict, Mapping, Sequence

from otobotctl.agent import files
from otobotctl.agent.backup.keeping import TAG
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.backup.shapes import ARCHIVE_FILE
from otobotctl.agent.lines import canonical, decode
from otobotctl.agent.run import StepError

_KEPT = 1000  # of a target, the newest: far more archives than any retention keeps


def read(places: BackupPlaces) -> Dict[str, Dict[str, int]]:
    """The bytes of each archive that this host has made, by target and id; nothing where that cannot be read."""
    with contextlib.suppress(OSError, ValueError):
        found = decode(files.read(_path(places)) or b"null")
        if isinstance(found, dict):
            return found
    return {}


def note(places: BackupPlaces, target: str, ident: str, size: int) -> None:
    """Note it; a disk that does not take that costs a list its size, and no archive. One run at a time does so."""
    known = read(places)
    ours = {**(known.get(target) or {}), ident: size}
    known[target] = {each: ours[each] for each in sorted(ours)[-_KEPT:]}
    user, group = files.me()
    with contextlib.suppress(OSError, StepError):
        files.write(_path(places), canonical(known).encode() + b"\n", 0o600, user, group)


def of_snapshots(listed: Sequence[Mapping[str, Any]]) -> Dict[str, int]:
    """The bytes of each archive all of whose parts' snapshots say theirs. Pure."""
    found: Dict[str, int] = {}
    silent = set()
    for each in listed:
        ident = next((tag[len(TAG) :] for tag in each.get("tags") or () if tag.startswith(TAG)), "")
        size = (each.get("summary") or {}).get("total_bytes_processed")
        if list(each.get("paths") or ()) == [ARCHIVE_FILE]:
            continue
        if not isinstance(size, int):
            silent.add(ident)
        found[ident] = found.get(ident, 0) + (size or 0)
    return {ident: size for ident, size in found.items() if ident not in silent}


def _path(places: BackupPlaces) -> str:
    return os.path.join(places.state, "sizes.json")
