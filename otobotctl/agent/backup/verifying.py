"""Whether a repository still holds what was put into it: restic's check, reading a part of all data each time.

Where something is damaged, which archives it belongs to decides what to do, so that is found out; nothing is repaired
here, because every repair gives something up, and what to give up is for a person to say.
"""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from otobotctl.agent.backup import keeping
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.shapes import ARCHIVE_FILE

PARTS = 52  # a timer takes one a week: every byte is read once a year
_WEEK_S = 7 * 86400
_ID = re.compile(r"\b[0-9a-f]{64}\b")
_SNAPSHOT = re.compile(r"snapshot/([0-9a-f]{8,64})")
_NO_MAP = ("loadindex", "loading index", "config or key", "index/")


class Verdict(NamedTuple):
    """What a check found. `error` is "" where all was well; `conclusive` is False where it could not be done.

    `damaged` are the archives that miss something, from old to new, and `whole` the others; both are empty where
    nothing is damaged. With `unknown` nobody can tell them apart, so that all count as damaged.
    """

    part: int
    of: int
    error: str
    conclusive: bool
    damaged: List[str]
    whole: List[str]
    unknown: bool


def next_part(last: Optional[Dict[str, Any]], now: float) -> int:
    """The part to read now, from 1: the one after the last that was well, so that a missed week leaves no gap."""
    if last and last.get("of") == PARTS:
        part = int(last["part"])
        return part if last.get("error") else part % PARTS + 1
    return int(now // _WEEK_S) % PARTS + 1


def verify(restic: Restic, append_only: bool, part: int, of: int) -> Verdict:
    """Check the repository's structure, and read part `part` of `of` of its data; all of it where `of` is 1."""
    words = ["--read-data"] if of == 1 else ["--read-data-subset={}/{}".format(part, of)]
    try:
        if not append_only:
            restic.run("unlock")  # of those alone whose process is gone
        restic.run("check", *words)
    except ResticError as error:
        if not _is_damage(error.said):  # a dead line, a lock: by kind, "pack ...: does not exist" would be "absent"
            return Verdict(part, of, str(error), False, [], [], False)
        damaged, whole, unknown = _sort(restic, error.said)
        return Verdict(part, of, str(error), True, damaged, whole, unknown)
    return Verdict(part, of, "", True, [], [], False)


def noted(verdict: Verdict, last: Optional[Dict[str, Any]], now: float) -> Dict[str, Any]:
    """What state.json keeps as `verified`; a check that could not be done leaves the time of the one before."""
    at = now if verdict.conclusive else (last or {}).get("at") or now
    found = {"at": at, "part": verdict.part, "of": verdict.of, "error": verdict.error or None}
    if not verdict.conclusive and last and not last.get("error"):
        found.update(part=last["part"], of=last["of"])
    return dict(found, damaged=verdict.damaged, unknown=verdict.unknown)


def _is_damage(said: str) -> bool:
    """Whether restic's words are about what is in the repository, and not about the way to it."""
    signs = ("repository contains errors", "contains damaged", "is damaged", "invalid data returned", "hash mismatch")
    return any(sign in said for sign in (*signs, "ciphertext verification failed", "LoadIndex returned errors"))


def _sort(restic: Restic, said: str) -> "tuple[List[str], List[str], bool]":
    """The archives with damage and those without, and whether nobody can tell."""
    try:
        snapshots = restic.snapshots()
        groups = [group for group in keeping.groups(snapshots) if group.heads]
    except (ResticError, ValueError):
        return [], [], True
    if any(sign in said.lower() for sign in _NO_MAP):
        return [group.id for group in groups], [], True
    hit = _hit(restic, said, [each["id"] for each in snapshots])
    if hit is None:
        return [group.id for group in groups], [], True
    there = {each["id"] for each in snapshots}
    damaged = [group.id for group in groups if _is_hit(restic, group, hit, there)]
    if not damaged and not _SNAPSHOT.search(said):
        return [group.id for group in groups], [], True
    return damaged, [group.id for group in groups if group.id not in damaged], False


def _is_hit(restic: Restic, group: keeping.Group, hit: "set[str]", there: "set[str]") -> bool:
    if hit & {*group.heads, *group.parts}:
        return True
    try:
        archive = json.loads(restic.read(group.heads[-1], ARCHIVE_FILE))
        # restic before 0.17 tells whoever saves the beginning of a snapshot's id alone.
        return any(not any(each.startswith(part["snapshot"]) for each in there) for part in archive["parts"])
    except (ResticError, ValueError, KeyError, TypeError):
        return True


def _hit(restic: Restic, said: str, snapshots: Sequence[str]) -> "Optional[set[str]]":
    """The snapshots that what restic complained of belongs to; None: it does not say."""
    named = _ID.findall(said)
    packs = set(restic.run("list", "packs").split()) | set(_indexed(said))
    found = {each for each in snapshots if each in named}
    wanted = [each for each in dict.fromkeys(named) if each in packs]
    if wanted:
        told = restic.told("find", "--json", "--pack", *wanted)
        found |= {each for each in snapshots if each in told}
    return found


def _indexed(said: str) -> List[str]:
    """Packs that are gone: no list of files has them, and restic names them so."""
    return re.findall(r"pack ([0-9a-f]{64})\b", said)


def words(verdict: Verdict, client: str, target: str, others: Sequence[str]) -> "tuple[str, List[str]]":
    """What to tell an operator of damage: one sentence, then what to do, a line each."""
    lines = []
    if verdict.unknown:
        lines.append("which archives it touches cannot be told: count on none of this target until it is repaired")
    elif verdict.damaged:
        lines.append("damaged archives: " + " ".join(verdict.damaged))
        lines.append("whole archives: {}".format(" ".join(verdict.whole) or "none"))
    else:
        lines.append("no archive that is listed misses anything")
    if others:
        lines.append("other targets have archives of their own: " + ", ".join(others))
    ask = "otobot-backup {} restic {}".format(client, target)
    lines += [
        "first keep a copy of the repository as it is; an append-only one is repaired by who may delete there",
        "then, on the host: {0} repair index, and {0} repair packs ID... (older than 0.17: rebuild-index)".format(ask),
        "then a new archive, which brings back whatever the client still has: otobotctl backup run {}".format(client),
        "and what is still damaged then: {} repair snapshots --forget".format(ask),
    ]
    return "{}: what the repository {} holds is damaged".format(client, target), lines
