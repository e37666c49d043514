"""The host's own prune, of targets where it may delete: whole archives go, and parts that belong to none."""

from __future__ import annotations

from typing import Any, Dict, List, Mapping, Sequence

from otobotctl.agent.backup.keeping import Verdict, counted, groups
from otobotctl.agent.backup.restic import Restic
from otobotctl.agent.backup.shapes import ARCHIVE_FILE

_AT_ONCE = 200  # snapshots on one command line


def prune(restic: Restic, keep: Mapping[str, int], now: float, pitr_days: int = 7) -> Verdict:
    """Forget what is not to be kept, and free its room; killed at any moment, what stays is whole. Raises ResticError.

    Of PostgreSQL's log and its bases what `pitr_days` need stays; a client that has none has nothing of it to forget.

    archive.json goes first, by a command of its own: what is left of a prune that dies are parts of no archive.
    """
    from otobotctl.agent.backup.pitr import segments

    restic.run("unlock")  # of processes that are gone alone: an archive is made without asking for it
    listed = restic.snapshots()
    verdict = counted(groups(listed), keep, now)
    _forget(restic, verdict.heads)
    _forget(restic, verdict.parts)
    _forget(restic, segments.gone(listed, pitr_days, now))
    restic.alone("prune")
    return verdict


def _forget(restic: Restic, which: Sequence[str]) -> None:
    for start in range(0, len(which), _AT_ONCE):
        restic.alone("forget", *which[start : start + _AT_ONCE])


def archives(listed: Sequence[Mapping[str, Any]]) -> List[Dict[str, Any]]:
    """The archives among these snapshots by time: id, snapshot, at (restic's words) and what tags say. Pure."""
    found = []
    for each in listed:
        if list(each.get("paths") or ()) != [ARCHIVE_FILE]:
            continue
        said = dict(tag.split("=", 1) for tag in each.get("tags") or () if "=" in tag)
        if "archive" in said:
            found.append({**said, "id": said["archive"], "snapshot": each["id"], "at": each["time"]})
    return sorted(found, key=lambda each: str(each["id"]))
