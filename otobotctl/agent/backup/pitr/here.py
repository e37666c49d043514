"""What there is of a client's log on this host: names by convention, the directory it comes to, and a note of the rest.

pitr.json, which the shipper writes: {"version": 1, "system": "7301...", "timeline": "00000001", "targets": {NAME:
 {"series": "9f31...", "last": the newest whole segment there or "", "position": 83886120, "covers": 1763690400.0,
 "sent": when something last went there, "error": {kind, message, remedy} | null, "told": false}}}
bases.json, which the maker of bases writes: {"version": 1, "targets": {NAME: {"base": {id, at, first, series} | null,
 "error": {...} | null}}}

`covers`: everything that was committed until then is there. Where the log had to begin anew, the series is another one,
and no base is of it yet.
"""

from __future__ import annotations

import os
from typing import Any, Dict, List, Mapping, NamedTuple, Optional

from otobotctl.agent import files
from otobotctl.agent.backup.pitr.segments import PARTIAL, SEGMENT, SIZE
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.backup.shapes import Job
from otobotctl.agent.lines import canonical, decode

SLOT = "otobot_pitr"
RECEIVER = "pg_receivewal"  # what it calls itself
LOG, BASES = "pitr.json", "bases.json"
_EMPTY: Mapping[str, Mapping[str, Any]] = {
    LOG: {"series": "", "last": "", "position": 0, "covers": 0.0, "sent": 0.0, "error": None, "told": False},
    BASES: {"base": None, "error": None},
}


class Names(NamedTuple):
    """The service that has the databases, what receives its log, and the volumes of both."""

    service: str
    receiver: str
    data: str
    spool: str


def names(job: Job) -> Optional[Names]:
    """By convention of templates/services/postgres; None where the client has no PostgreSQL."""
    service = next((each["service"] for each in job["sources"] if each["kind"] == "postgres"), "")
    if not service:
        return None
    return Names(service, service + "-wal", service + "_data", service + "_wal")


def read(places: BackupPlaces, which: str) -> Dict[str, Any]:
    """A note; one that was never written, or cannot be read, says nothing."""
    try:
        found = decode(files.read(os.path.join(places.state, which)) or b"null")
    except (OSError, ValueError):
        found = None
    if not isinstance(found, dict) or found.get("version") != 1:
        found = {}
    return {"system": "", "timeline": "", **found, "version": 1, "targets": dict(found.get("targets") or {})}


def of_target(note: Mapping[str, Any], which: str, name: str) -> Dict[str, Any]:
    """What a note says of a target, with every key."""
    return {**_EMPTY[which], **(note["targets"].get(name) or {})}


def write(places: BackupPlaces, which: str, note: Mapping[str, Any]) -> None:
    """Write a note whole. Raises OSError, StepError."""
    user, group = files.me()
    files.write(os.path.join(places.state, which), canonical(dict(note)).encode() + b"\n", 0o600, user, group)


def standing(places: BackupPlaces, job: Job, now: float) -> Optional[Dict[str, Dict[str, Any]]]:
    """How the log of each target stands: `lag_s` (None: nothing is there yet), `error` and `base` (of this log, or "").

    None where the client has no point-in-time recovery.
    """
    if not job["pitr"]:
        return None
    log, made = read(places, LOG), read(places, BASES)
    found = {}
    for target in job["targets"]:
        known, bases = (of_target(note, which, target["name"]) for note, which in ((log, LOG), (made, BASES)))
        base, error = bases["base"] or {}, known["error"] or bases["error"]
        found[target["name"]] = {
            "lag_s": round(max(0.0, now - known["covers"]), 1) if known["covers"] else None,
            "error": error["message"] if error else "",
            "base": base["id"] if base and base["series"] == known["series"] else "",
        }
    return found


def without_base(log: Mapping[str, Any], bases: Mapping[str, Any]) -> Dict[str, str]:
    """The series of each target whose log has begun and has no base yet, by the two notes."""
    found = {}
    for name in log["targets"]:
        known = of_target(log, LOG, name)
        if lacks_base(known, of_target(bases, BASES, name)):
            found[name] = str(known["series"])
    return found


def lacks_base(log: Mapping[str, Any], bases: Mapping[str, Any]) -> bool:
    """Whether a log has begun and has no base yet, by what the two notes say of one target."""
    base = bases["base"]
    return bool(log["series"]) and (base is None or base["series"] != log["series"])


class Seen(NamedTuple):
    """The whole segments that have come, in order, and the one that is being written or ""."""

    whole: List[str]
    partial: str


class Spool:
    """The directory that the log comes to."""

    def __init__(self, path: str) -> None:
        self.path = path

    def look(self, timeline: str) -> Seen:
        """What there is of a timeline, at one moment: a segment that becomes whole must not be missed as either."""
        names = [name for name in self._names() if name[:8] == timeline]
        parts = [name for name in names if name.endswith(PARTIAL)]
        partial = parts[-1][: -len(PARTIAL)] if parts and self._begun(parts[-1]) else ""
        return Seen([name for name in names if SEGMENT.fullmatch(name)], partial)

    def _begun(self, name: str) -> bool:
        """Whether anything of the log can be in a partial segment: its receiver first fills it with zeros, whole."""
        try:
            return os.stat(os.path.join(self.path, name)).st_size == SIZE
        except FileNotFoundError:
            return False  # it has become whole just now

    def drop(self, which: List[str]) -> None:
        """Let go of segments. Raises OSError."""
        for name in which:
            files.remove(os.path.join(self.path, name))

    def clear(self, but: str = "") -> None:
        """Let go of everything, or of all but one timeline. Raises OSError."""
        for name in self._names():
            if not but or name[:8] != but:
                files.remove(os.path.join(self.path, name))

    def _names(self) -> List[str]:
        try:
            return sorted(os.listdir(self.path))
        except FileNotFoundError:
            return []
