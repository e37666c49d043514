"""A restore on the host: beside what is there, then in its place, proved, and only then is the former data let go.

Whatever fails, and whoever is killed, the former data is what runs afterwards, until the restored one is proved. What
a killed restore left is put right by the next one, see course.py.
"""

from __future__ import annotations

import shutil
import time
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence

from otobotctl.agent.backup import course as courses
from otobotctl.agent.backup import erasures
from otobotctl.agent.backup.choosing import Chosen
from otobotctl.agent.backup.course import Course, Item
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.mongodb import Mongo
from otobotctl.agent.backup.pitr import here as log
from otobotctl.agent.backup.pitr.cluster import Cluster, Point
from otobotctl.agent.backup.postgres import Postgres
from otobotctl.agent.backup.shapes import Job, Part
from otobotctl.agent.backup.trees import Tree
from otobotctl.agent.run import ProbeError, StepError
from otobotctl.agent.shell import ask

# A database is larger on disk than its dump: indexes, and the log that writing it makes until the next checkpoint.
_ROOM = {"postgres": 2.0, "mongo": 1.5, "volume": 1.0}
_SPARE = 256 << 20
_MB, _GB = 10**6, 10**9
_FILES = ("volume", "cluster")


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
        engines = self._engines(left.items)
        if engines or not any(item.kind == "cluster" for item in left.items):
            self._hands.up(engines)
        if left.phase == courses.PROVED:
            self._hands.say(
                "an earlier restore of {} was killed after it was proved: finished".format(left.about["id"])
            )
            self._finish(left)
            return str(left.about["id"])
        self._hands.say("an earlier restore of {} was killed: undone".format(left.about["id"]))
        self._undo(left)
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
        self._room(chosen, items, wanted.point)
        course = Course(self._path)
        places = {item.name: self._hands.mountpoint(item.name) for item in items if item.kind in _FILES}
        course.begin(ident, ident.lower().replace("-", "_"), items, places=places)
        items = course.items
        try:
            rows = self._fill(chosen, course, wanted.point)
            ran = self._hands.writers(self._job["engines"])
            course.enter(courses.STOPPED)
            self._hands.say("{} services are stopped".format(len(ran)))
            self._hands.stop(ran)
            safety = kept.safety()
            again = self._erase(course, kept.erased)
            course.enter(courses.EXCHANGING, safety=safety)
            self._exchange(course, items)
            self._hands.up(())
            self._erased(items)
            proofs = self._prove(wanted)
        except (RestoreError, ProbeError, StepError, OSError) as error:
            raise self._back(course, error) from error
        course.enter(courses.PROVED)
        self._finish(course)
        now, made = time.time(), wanted.point.moment if wanted.point else chosen.archive["made"]
        return {
            "id": ident, "target": chosen.target, "at": round(now, 3), "made": made,
            "took_s": round(now - begun, 3), "lost_s": round(begun - made, 3),
            "what": [item.name for item in items], "rows": rows, "safety": safety, "erased": again, "proofs": proofs,
        }  # fmt: skip

    def _back(self, course: Course, error: Exception) -> Exception:
        self._hands.say("it failed, so the former data comes back: {}".format(error))
        try:
            self._undo(course)
        except (RestoreError, ProbeError, StepError, OSError) as second:
            return RestoreError("{}; and the former data is not back yet: {}".format(error, second))
        return TakenBackError(str(error))

    def _items(self, chosen: Chosen, wanted: Wanted) -> List[Item]:
        """What of the job is in the archive and wanted."""
        found = []
        if wanted.point:
            found.append(Item("cluster", wanted.point.names.data, wanted.point.names.service, ""))
        for source in self._job["sources"]:
            if wanted.point and source["kind"] == "postgres":
                continue
            if wanted.service and source["of"] != wanted.service:
                continue
            if wanted.database and (source["kind"] == "volume" or source["name"] != wanted.database):
                continue
            item = Item(source["kind"], source["name"], source["service"], "")
            if part_of(chosen, item) is None:
                self._hands.say("{} is not in this archive and stays as it is".format(item.name))
                continue
            found.append(item)
        if not found:
            names = ", ".join(part["name"] for part in chosen.archive["parts"])
            raise RestoreError("nothing of that is in archive {}; it has: {}".format(chosen.archive["id"], names))
        return found

    def _room(self, chosen: Chosen, items: List[Item], point: Optional[Point]) -> None:
        """Refuse before anything is done where the disk cannot hold both. Raises RestoreError."""
        needed, words = _SPARE, []
        if point:
            needed += Cluster.room(point.found)
            words.append("{} {}".format(point.names.data, _mb(Cluster.room(point.found))))
        for item in items:
            if item.kind == "cluster":
                continue
            part = _part(chosen, item)
            size = int(part["bytes"] * _ROOM[item.kind])
            if item.kind == "postgres":
                size = max(size, Postgres(self._hands, item.service).size(item.name))
            needed += size
            words.append("{} {}".format(item.name, _mb(size)))
        answer = ask(["docker", "info", "--format", "{{.DockerRootDir}}"])
        place = answer.stdout.strip() if not answer.status else "/"
        free = shutil.disk_usage(place or "/").free
        said = "{} are needed beside what is there ({}, {} to spare), {} are free on {}".format(
            _mb(needed), ", ".join(words), _mb(_SPARE), _mb(free), place
        )
        if free < needed:
            raise RestoreError(said)
        self._hands.say(said)

    def _fill(self, chosen: Chosen, course: Course, point: Optional[Point]) -> Dict[str, Dict[str, int]]:
        """Everything beside; return the rows of each database of PostgreSQL, which are those of the archive."""
        counted: Dict[str, Dict[str, int]] = {}
        roles = chosen.part("/databases/roles.sql")
        made = set()
        for item in course.items:
            if item.kind == "cluster":
                if point:
                    self._cluster(course, item, point.image).fill(point)
                continue
            part, begun = _part(chosen, item), time.monotonic()
            if item.kind == "postgres":
                server = Postgres(self._hands, item.service)
                if roles is not None and item.service not in made:
                    made.add(item.service)
                    server.roles(_text(chosen, roles))
                server.make(item.beside, item.name)
                server.fill(item.beside, chosen.stream(part))
                counted[item.name] = self._counted(server, item, part)
            elif item.kind == "mongo":
                packed = part["name"].endswith(".gz")
                Mongo(self._hands, item.service).fill(item.name, item.beside, chosen.stream(part), packed=packed)
            else:
                kept = [name for source in self._job["sources"] for name in _kept(source, item)]
                self._tree(course, item).fill(chosen.stream(part), kept)
            took = time.monotonic() - begun
            self._hands.say("{}: {} in {:.1f} s".format(item.name, _mb(part["bytes"]), took))
        return counted

    def _counted(self, server: Postgres, item: Item, part: Part) -> Dict[str, int]:
        rows = server.rows(item.beside)
        for table, count in sorted((part["rows"] or {}).items()):
            if rows.get(table) != count:
                raise RestoreError(
                    "{}: {} has {} rows and the archive says {}".format(item.name, table, rows.get(table, "no"), count)
                )
        return {table: rows[table] for table in part["rows"] or {}}

    def _erase(self, course: Course, known: erasures.Known) -> int:
        """Tell each restored vault, before anybody can open it, whom it has to erase again."""
        count = 0
        for item in course.items:
            if item.kind == "cluster":
                count += self._cluster(course, item).erase(self._databases(item), known)
            if item.kind == "postgres":
                count += erasures.carry(Postgres(self._hands, item.service), item.name, item.beside, known)
        if count:
            self._hands.say("{} people were erased since this archive and will be again".format(count))
        return count

    def _erased(self, items: List[Item]) -> None:
        """See that each vault has erased again whom it was told to. Raises RestoreError."""
        for item in items:
            names = {"postgres": [item.name], "cluster": self._databases(item)}.get(item.kind, [])
            for name in names:
                if left := erasures.left(Postgres(self._hands, item.service), name):
                    raise RestoreError("{}: {} people who were erased are still there".format(name, left))

    def _databases(self, item: Item) -> List[str]:
        """The databases of an engine."""
        return [
            each["name"]
            for each in self._job["sources"]
            if (each["kind"], each["service"]) == ("postgres", item.service)
        ]

    def _cluster(self, course: Course, item: Item, image: str = "") -> Cluster:
        return Cluster(self._hands, self._job["client"], item, course.about["places"][item.name], image)

    def _exchange(self, course: Course, items: List[Item]) -> None:
        for service in sorted({item.service for item in items if item.kind == "postgres"}):
            mine = [item for item in items if item.kind == "postgres" and item.service == service]
            pairs = [(item.name, item.before) for item in mine] + [(item.beside, item.name) for item in mine]
            Postgres(self._hands, service).exchange(pairs)
        for item in items:
            if item.kind == "cluster":
                self._cluster(course, item).exchange()
            elif item.kind == "mongo":
                Mongo(self._hands, item.service).exchange(item, course)
            elif item.kind == "volume":
                self._tree(course, item).exchange()

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

    def _undo(self, course: Course) -> None:
        """The former data, up and healthy; nothing else is left. Raises what its parts raise."""
        items = course.items
        if course.phase == courses.EXCHANGING:
            self._hands.stop(self._hands.writers(self._job["engines"]))
            for item in items:
                if item.kind == "cluster":
                    self._cluster(course, item).back()
                elif item.kind == "mongo":
                    Mongo(self._hands, item.service).back(item, course)
                elif item.kind == "volume":
                    self._tree(course, item).back()
            self._databases_back(items)
        self._drop(course, former=False)
        if course.phase != courses.FILLING:
            self._hands.up(())
        course.end()

    def _databases_back(self, items: List[Item]) -> None:
        for service in sorted({item.service for item in items if item.kind == "postgres"}):
            server = Postgres(self._hands, service)
            there = set(server.databases())
            mine = [each for each in items if each.service == service and each.before in there]
            pairs = [(item.name, item.beside) for item in mine] + [(item.before, item.name) for item in mine]
            server.exchange(pairs)

    def _finish(self, course: Course) -> None:
        """Let go of what was kept."""
        self._drop(course, former=True)
        for item in course.items:
            names = log.names(self._job)
            if item.kind == "cluster" and names:
                log.Spool(self._hands.mountpoint(names.spool)).clear()  # the log of what was there before
        course.end()

    def _drop(self, course: Course, *, former: bool) -> None:
        for item in course.items:
            names = (item.beside, item.before) if former else (item.beside,)
            if item.kind == "cluster":
                self._cluster(course, item).drop(former=former)
            elif item.kind == "postgres":
                Postgres(self._hands, item.service).drop(names)
            elif item.kind == "mongo":
                Mongo(self._hands, item.service).drop(*names)
            else:
                tree = self._tree(course, item)
                tree.drop(*((tree.beside, tree.before) if former else (tree.beside,)))

    def _tree(self, course: Course, item: Item) -> Tree:
        return Tree(self._hands, item, course.about["places"][item.name])

    def _engines(self, items: Sequence[Item]) -> List[str]:
        return sorted({item.service for item in items if item.service and item.kind != "cluster"})


def part_of(chosen: Chosen, item: Item) -> Optional[Part]:
    """The part of the archive that an item is restored from."""
    names = {
        "postgres": ("/databases/{}.dump",),
        "mongo": ("/databases/{}.archive", "/databases/{}.archive.gz"),
        "volume": ("/volumes/{}.tar",),
    }[item.kind]
    found = (chosen.part(name.format(item.name)) for name in names)
    return next((part for part in found if part is not None), None)


def _part(chosen: Chosen, item: Item) -> Part:
    part = part_of(chosen, item)
    if part is None:
        raise RestoreError("{} is not in this archive".format(item.name))
    return part


def _kept(source: Any, item: Item) -> Sequence[str]:
    same = source["kind"] == "volume" and source["name"] == item.name
    return source.get("exclude") or () if same else ()


def _text(chosen: Chosen, part: Part) -> str:
    with chosen.stream(part) as process:
        said, errors = process.communicate()
    if process.returncode:
        raise RestoreError("{} cannot be read: {}".format(part["name"], errors.decode("utf-8", "replace")[-300:]))
    return said.decode("utf-8", "replace")


def _mb(size: int) -> str:
    return "{:.1f} GB".format(size / _GB) if size >= _GB else "{:.1f} MB".format(size / _MB)
