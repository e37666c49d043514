"""Which archive: by its id, by a time, or the newest; and its parts as streams."""

from __future__ import annotations

import calendar
import json
import re
import subprocess
import time
from typing import Callable, Dict, List, NamedTuple, Optional, Sequence

from otobotctl.agent.backup import pruning
from otobotctl.agent.backup.hands import RestoreError
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.shapes import ARCHIVE_FILE, Archive, Part

_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{1,16}")


class Chosen:
    """An archive of a repository."""

    def __init__(self, restic: Restic, archive: Archive) -> None:
        self.restic = restic
        self.archive = archive

    @property
    def target(self) -> str:
        """The repository's name."""
        return self.restic.name

    def stream(self, part: Part) -> "subprocess.Popen[bytes]":
        """A program that prints a part: read it to the end, then its status. Raises OSError."""
        return self.restic.dump(part["snapshot"], part["name"])

    def part(self, name: str) -> Optional[Part]:
        """The part of this name, if the archive has it."""
        return next((part for part in self.archive["parts"] if part["name"] == name), None)


class Listed(NamedTuple):
    """An archive as a repository lists it."""

    id: str
    made: float
    snapshot: str
    restic: Restic
    reason: str


def is_id(text: str) -> bool:
    """Whether this is the id of an archive rather than a time."""
    return _ID.fullmatch(text) is not None


def made_at(ident: str) -> float:
    """When an archive of this id began, in Unix seconds."""
    return float(calendar.timegm(time.strptime(ident[:16], "%Y%m%dT%H%M%SZ")))


def listed(repositories: Sequence[Restic], say: Callable[[str], None]) -> List[Listed]:
    """Every archive of every repository that answers, the newest first. Raises RestoreError: none answers."""
    found: List[Listed] = []
    troubles = []
    for restic in repositories:
        try:
            found += _listed(restic)
        except ResticError as error:
            troubles.append(str(error))
            say("{} does not answer: {}".format(restic.name, error))
    if len(troubles) == len(repositories):
        raise RestoreError("no repository answers: {}".format("; ".join(troubles) or "there is none"))
    order = {restic.name: number for number, restic in enumerate(repositories)}
    return sorted(found, key=lambda each: (each.id, -order[each.restic.name]), reverse=True)


def _listed(restic: Restic) -> List[Listed]:
    found: Dict[str, Listed] = {}
    for each in pruning.archives(restic.snapshots("--path", ARCHIVE_FILE)):
        ident = each["id"]
        if is_id(ident):
            found[ident] = Listed(ident, made_at(ident), each["snapshot"], restic, each.get("reason", ""))
    return list(found.values())


def choose(candidates: Sequence[Listed], ident: str, until: Optional[float]) -> Chosen:
    """The archive of this id; without one, the newest not after `until` that was no safety archive.

    Raises RestoreError: there is none such; ResticError: it cannot be read.
    """
    if ident:
        same = [each for each in candidates if each.id == ident]
        if not same:
            raise RestoreError("there is no archive {}; there are: {}".format(ident, _some(candidates)))
        return opened(same[0])
    for each in candidates:
        if each.reason != "safety" and (until is None or each.made <= until):
            return opened(each)
    raise RestoreError(
        "there is no archive" + (" that old" if until is not None else "") + "; there are: " + _some(candidates)
    )


def opened(each: Listed) -> Chosen:
    """Read what an archive says of itself. Raises ResticError."""
    with each.restic.dump(each.snapshot, ARCHIVE_FILE) as process:
        said, errors = process.communicate()
    if process.returncode:
        raise each.restic.failed("dump", process.returncode, errors)
    archive: Archive = json.loads(said)
    return Chosen(each.restic, archive)


def _some(candidates: Sequence[Listed]) -> str:
    idents = sorted({each.id for each in candidates})
    return ", ".join(idents[-5:]) or "none at all"
