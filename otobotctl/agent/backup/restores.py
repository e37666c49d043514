"""Serves a restore that an operator asks for: the archive, what is wanted of it, and what the host remembers of it."""

from __future__ import annotations

import contextlib
import os
import time
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from otobotctl.agent import lock
from otobotctl.agent.backup import choosing, erased, erasures, partial, state
from otobotctl.agent.backup.choosing import Chosen, Listed
from otobotctl.agent.backup.course import Course
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.pitr import here, moments
from otobotctl.agent.backup.pitr.cluster import Point
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.restoring import Kept, Restoring, TakenBackError, Wanted
from otobotctl.agent.backup.shapes import Job
from otobotctl.agent.dumps import Project
from otobotctl.agent.protocol import TAKEN_BACK
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import ProbeError, StepError
from otobotctl.agent.wire import RefusedError


def restore(asked: Dict[str, Any], say: Callable[[str], None]) -> None:
    """Restore what is asked for, and note it in the client's state. `asked` is what plan/kinds/restore.py sends.

    Raises:
        StepError: nothing was changed; with the code TAKEN_BACK, what was there before is up again.
    """
    places = BackupPlaces(asked["client"])
    try:
        places.prepare()
        job = read_job(places)
        with _held(places, asked["who"]):
            done = _Restore(asked, places, job, say).run()
    except TakenBackError as error:
        raise StepError("{}; the former data is back and healthy".format(error), TAKEN_BACK) from error
    except RefusedError as error:
        raise StepError("a backup of {} is under way; try again when it has ended".format(asked["client"])) from error
    except (RestoreError, ResticError, JobError, ProbeError, OSError) as error:
        raise StepError(str(error)) from error
    state.change(places.note, lambda known: known.update(restored=done))


@contextlib.contextmanager
def _held(places: BackupPlaces, who: str) -> Iterator[None]:
    """The lock of a client's backups. Raises RefusedError: a run has it."""
    about = {"run": "restore", "who": who, "at": round(time.time(), 3), "pid": os.getpid()}
    descriptor = lock.acquire(places.lock, about)
    try:
        yield
    finally:
        os.close(descriptor)


class _Restore:
    def __init__(self, asked: Dict[str, Any], places: BackupPlaces, job: Job, say: Callable[[str], None]) -> None:
        self._asked = asked
        self._places = places
        self._job = job
        self._say = say
        here = Releases(asked["client"])
        if here.current() is None:
            raise RestoreError("nothing is deployed here to restore into")
        self._journal = places.restoring
        self._hands = Hands(Project(job["project"], here.link), say)
        self._all: List[Listed] = []

    def run(self) -> Dict[str, Any]:
        begun = time.time()
        restoring = Restoring(self._job, self._hands, self._journal)
        finished = restoring.mend()
        if finished and self._asked["id"] in ("", finished):
            return {**self._who(), "id": finished, "at": round(begun, 3), "finished": True}
        self._all = choosing.listed(self._repositories(), self._say)
        point = self._point()
        chosen = choosing.choose(self._all, self._asked["id"], point.moment if point else self._asked["until"])
        archive = chosen.archive
        made = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(archive["made"]))
        self._say(
            "archive {} of {} from {}, {} parts".format(archive["id"], made, chosen.target, len(archive["parts"]))
        )
        known = erasures.Known(lambda database: self._elsewhere(chosen, database))
        kept = Kept(lambda: self._safety(chosen), known)
        if self._asked["table"] or self._asked["user"]:
            here = partial.Here(self._job, self._hands, Course(self._journal), chosen, known)
            done = (partial.table if self._asked["table"] else partial.user)(here, self._asked)
        else:
            wanted = Wanted(self._asked["service"], self._asked["database"], self._asked["proofs"], point)
            done = restoring.full(chosen, wanted, kept)
        return {**done, **self._who()}

    def _point(self) -> Optional[Point]:
        """The moment that is wanted, where all of a client with point-in-time recovery is restored to one."""
        moment, asked = self._asked.get("moment", ""), self._asked
        whole = not (asked["id"] or asked["service"] or asked["database"] or asked["table"] or asked["user"])
        names = here.names(self._job)
        if not self._job["pitr"] or not moment or not whole or names is None:
            return None
        note = here.read(self._places, here.LOG)
        candidates = moments.found(self._repositories(), note, self._say)
        if moment == moments.LATEST and asked["until"] is not None and not candidates:
            self._say("WARNING: there is no base with a log in any repository: the newest archive comes back")
            return None
        found, at = moments.choose(
            candidates, asked["until"], latest=moment == moments.LATEST, client=self._job["client"]
        )
        releases = Releases(self._job["client"])
        image = (releases.record(releases.current() or 0).get("images") or {}).get(names.service, "")
        self._say(
            "PostgreSQL comes back as it was at {}".format(time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at)))
        )
        return Point(found, at, moment != moments.LATEST, names, image)

    def _who(self) -> Dict[str, str]:
        return {"run": self._asked["run"], "request": self._asked["request"]}

    def _repositories(self) -> List[Restic]:
        name = self._asked["target"]
        targets = [target for target in self._job["targets"] if name in ("", target["name"])]
        if not targets:
            names = ", ".join(target["name"] for target in self._job["targets"]) or "none"
            raise RestoreError("there is no target {}; there are: {}".format(name, names))
        return [Restic.of(self._places, each) for each in targets]

    def _safety(self, chosen: Chosen) -> str:
        """Archive what is there, now that nothing writes, where the archive came from; return the new one's id."""
        if not self._asked["safety"]:
            self._say("no safety archive is made, as was asked for")
            return ""
        from otobotctl.agent.backup.making import Making
        from otobotctl.agent.backup.making import Wanted as Made

        wanted = Made("safety", consistent=False, who=self._asked["who"], host_lock="")
        archive, _ = Making(self._job, self._places, chosen.restic, wanted, lambda _: None).make()
        self._say("safety archive {} on {}".format(archive["id"], chosen.target))
        return str(archive["id"])

    def _elsewhere(self, chosen: Chosen, database: str) -> Sequence[erasures.Erased]:
        """Erasures that a newer archive of each repository knows of; they only grow, so the newest has them all."""
        found = erased.known(self._repositories(), self._say)
        for name in sorted({each.restic.name for each in self._all}):
            each = newer([each for each in self._all if each.restic.name == name], chosen)
            if each is None:
                continue
            try:
                found += self._of_archive(choosing.opened(each), database)
            except (ResticError, RestoreError, OSError) as error:
                self._say("WARNING: {} cannot be asked for erasures since: {}".format(each.id, error))
        return found

    def _of_archive(self, chosen: Chosen, database: str) -> Sequence[erasures.Erased]:
        part = chosen.part("/databases/{}.dump".format(database))
        service = next(each["service"] for each in self._job["sources"] if each["name"] == database)
        if part is None:
            return []
        schema, _, table = erasures.TABLE.partition(".")
        words = ("pg_restore", "--data-only", "--schema=" + schema, "--table=" + table, "--file=-")
        return erasures.parse(self._hands.through(chosen.stream(part), self._hands.project.inside(service, *words)))


def newer(candidates: Sequence[Listed], chosen: Chosen) -> Optional[Listed]:
    """The newest archive after this one."""
    return next((each for each in candidates if each.id > chosen.archive["id"]), None)
