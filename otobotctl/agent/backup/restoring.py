"""A restore on the host: beside what is there, then in its place, proved, and only then is the former data let go.

Whatever fails, and whoever is killed, the former data is what runs afterwards, until the restored one is proved. What
a killed restore left is put right by the next one, see course.py. What is done to a database or to a volume is in
kinds/.
"""

from __future__ import annotations

import shutil
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type

from otobotctl.agent.backup import course as courses
from otobotctl.agent.backup import erasures, kinds
from otobotctl.agent.backup.choosing import Chosen
from otobotctl.agent.backup.course import Course, Item
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.kinds.kind import Around, Kind
from otobotctl.agent.backup.pitr.cluster import Point
from otobotctl.agent.backup.postgres import Postgres
from otobotctl.agent.backup.shapes import Job
from otobotctl.agent.backup.throwaway import docker_root
from otobotctl.agent.run import ProbeError, StepError

_SPARE = 256 << 20
_MB, _GB = 10**6, 10**9


class Wanted(NamedTuple):
    """What is restored: everything, or what one service has, or one database. `proofs` are tried by their services.

    With a `point`, PostgreSQL is brought to that moment whole, and the archive's databases of it are not needed.
    """

    service: str = ""
    database: str = ""
    proofs: Sequence[Dict[str, Any]] = ()
    point: Optional[Point] = None


class Kept(NamedTuple):
    """What a restore needs from around it: `safety` makes an archive and returns its id, `erased` knows of erasures."""

    safety: Callable[[], str]
    erased: erasures.Known


class TakenBackError(Exception):
    """The restore failed, and what was there before is up and healthy again."""


class Restoring:
    """One restore of one client. `path` is where its journal is."""

    def __init__(self, job: Job, hands: Hands, path: str) -> None:
        self._job = job
        self._hands = hands
        self._path = path

    def mend(self) -> str:
        """Put right what a killed restore left; return the id of the archive that it finished, else "".

        Raises RestoreError: it cannot be put right yet.
        """
        try:
            left = Course.left(self._path)
        except ValueError as error:
            raise RestoreError("{} cannot be read: {}".format(self._path, error)) from error
        if left is None:
            return ""
        restored = _kinds(Around(self._job, self._hands, left), left.items)
        engines = sorted({each.item.service for each in restored if each.SERVED})
        # Files need no engine, and nothing else may start before they are where it looks for them.
        if engines:
            self._hands.up(engines)
        if left.phase == courses.PROVED:
            self._hands.say(
                "an earlier restore of {} was killed after it was proved: finished".format(left.about["id"])
            )
            _finish(left, restored)
            return str(left.about["id"])
        self._hands.say("an earlier restore of {} was killed: undone".format(left.about["id"]))
        self._undo(left, restored)
        return ""

    def full(self, chosen: Chosen, wanted: Wanted, kept: Kept) -> Dict[str, Any]:
        """Restore databases and volumes whole; return what was done.

        Raises:
            RestoreError: nothing was changed.
            TakenBackError: what was there before is up again.
        """
        begun = time.time()
        ident = chosen.archive["id"]
        items = self._items(chosen, wanted)
        course = Course(self._path)
        around = Around(self._job, self._hands, course, chosen, wanted.point)
        self._room(_kinds(around, items))
        places = {item.name: self._hands.mountpoint(item.name) for item in items if not kinds.of(item.kind).SERVED}
        course.begin(ident, ident.lower().replace("-", "_"), items, places=places)
        restored = _kinds(around, course.items)
        try:
            rows = self._fill(restored)
            ran = self._hands.writers(self._job["engines"])
            course.enter(courses.STOPPED)
            self._hands.say("{} services are stopped".format(len(ran)))
            self._hands.stop(ran)
            safety = kept.safety()
            again = self._erase(restored, kept.erased)
            course.enter(courses.EXCHANGING, safety=safety)
            for kind, mine in _grouped(restored):
                kind.exchange_all(mine)
            self._hands.up(())
            self._erased(restored)
            proofs = self._prove(wanted)
        except (RestoreError, ProbeError, StepError, OSError) as error:
            raise self._back(course, restored, error) from error
        course.enter(courses.PROVED)
        _finish(course, restored)
        now, made = time.time(), wanted.point.moment if wanted.point else chosen.archive["made"]
        return {
            "id": ident, "target": chosen.target, "at": round(now, 3), "made": made,
            "took_s": round(now - begun, 3), "lost_s": round(begun - made, 3),
            "what": [item.name for item in items], "rows": rows, "safety": safety, "erased": again, "proofs": proofs,
        }  # fmt: skip

    def _back(self, course: Course, restored: Sequence[Kind], error: Exception) -> Exception:
        self._hands.say("it failed, so the former data comes back: {}".format(error))
        try:
            self._undo(course, restored)
        except (RestoreError, ProbeError, StepError, OSError) as second:
            return RestoreError("{}; and the former data is not back yet: {}".format(error, second))
        return TakenBackError(str(error))

    def _items(self, chosen: Chosen, wanted: Wanted) -> List[Item]:
        """What of the job is in the archive and wanted."""
        found = []
        if wanted.point:
            found.append(Item("cluster", wanted.point.names.data, wanted.point.names.service, ""))
        for source in self._job["sources"]:
            kind, name = kinds.of(source["kind"]), source["name"]
            if wanted.point and source["kind"] == "postgres":
                continue
            if wanted.service and source["of"] != wanted.service:
                continue
            if wanted.database and not (kind.SERVED and name == wanted.database):
                continue
            if kind.part_in(chosen, name) is None:
                self._hands.say("{} is not in this archive and stays as it is".format(name))
                continue
            found.append(Item(source["kind"], name, source["service"], ""))
        if not found:
            names = ", ".join(part["name"] for part in chosen.archive["parts"])
            raise RestoreError("nothing of that is in archive {}; it has: {}".format(chosen.archive["id"], names))
        return found

    def _room(self, restored: Sequence[Kind]) -> None:
        """Refuse before anything is done where the disk cannot hold both. Raises RestoreError."""
        sizes = [(each.item.name, each.room()) for each in restored]
        needed = _SPARE + sum(size for _, size in sizes)
        words = ["{} {}".format(name, _mb(size)) for name, size in sizes]
        place = docker_root()
        free = shutil.disk_usage(place).free
        said = "{} are needed beside what is there ({}, {} to spare), {} are free on {}".format(
            _mb(needed), ", ".join(words), _mb(_SPARE), _mb(free), place
        )
        if free < needed:
            raise RestoreError(said)
        self._hands.say(said)

    def _fill(self, restored: Sequence[Kind]) -> Dict[str, Dict[str, int]]:
        """Everything beside; return the rows of each database of PostgreSQL, which are those of the archive."""
        counted: Dict[str, Dict[str, int]] = {}
        for kind, mine in _grouped(restored):
            kind.prepare(mine)
        for each in restored:
            begun = time.monotonic()
            rows = each.fill()
            if rows is not None:
                counted[each.item.name] = rows
            if each.PARTS:
                took = time.monotonic() - begun
                self._hands.say("{}: {} in {:.1f} s".format(each.item.name, _mb(each.part["bytes"]), took))
        return counted

    def _erase(self, restored: Sequence[Kind], known: erasures.Known) -> int:
        """Tell each restored vault, before anybody can open it, whom it has to erase again."""
        count = sum(each.erase(known) for each in restored)
        if count:
            self._hands.say("{} people were erased since this archive and will be again".format(count))
        return count

    def _erased(self, restored: Sequence[Kind]) -> None:
        """See that each vault has erased again whom it was told to. Raises RestoreError."""
        for each in restored:
            for name in each.vaults():
                if left := erasures.left(Postgres(self._hands, each.item.service), name):
                    raise RestoreError("{}: {} people who were erased are still there".format(name, left))

    def _prove(self, wanted: Wanted) -> List[Dict[str, str]]:
        """Each service's own proof of its data. Raises RestoreError: one of them says no."""
        told = []
        there = {each.service for each in self._hands.writers(())}
        for proof in wanted.proofs:
            service = proof["service"]
            if service not in there or (wanted.service and service != wanted.service):
                continue
            said = self._hands.tell(self._hands.project.inside(service, *proof["argv"]), "", service)
            told.append({"service": service, "said": (said.strip().splitlines() or ["proved"])[-1][:200]})
            self._hands.say("{}: {}".format(service, told[-1]["said"]))
        return told

    def _undo(self, course: Course, restored: Sequence[Kind]) -> None:
        """The former data, up and healthy; nothing else is left. Raises what its parts raise."""
        if course.phase == courses.EXCHANGING:
            self._hands.stop(self._hands.writers(self._job["engines"]))
            for kind, mine in reversed(_grouped(restored)):
                kind.back_all(mine)
        for each in restored:
            each.drop(former=False)
        if course.phase != courses.FILLING:
            self._hands.up(())
        course.end()


def _kinds(around: Around, items: Sequence[Item]) -> List[Kind]:
    return [kinds.of(item.kind)(around, item) for item in items]


def _grouped(restored: Sequence[Kind]) -> List[Tuple[Type[Kind], List[Kind]]]:
    """What is restored by its kind, in the order of KINDS."""
    found = [(kind, [each for each in restored if isinstance(each, kind)]) for kind in kinds.KINDS.values()]
    return [(kind, mine) for kind, mine in found if mine]


def _finish(course: Course, restored: Sequence[Kind]) -> None:
    """Let go of what was kept."""
    for each in restored:
        each.finish()
    course.end()


def _mb(size: int) -> str:
    return "{:.1f} GB".format(size / _GB) if size >= _GB else "{:.1f} MB".format(size / _MB)
