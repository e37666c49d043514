"""Makes one archive on one target: every part, and last of all archive.json, which makes them one."""

from __future__ import annotations

import contextlib
import functools
import os
import socket
import time
from typing import Any, Callable, Dict, Iterable, Iterator, List, NamedTuple, Optional, Sequence

from otobotctl.agent import lock
from otobotctl.agent.backup.configuration import NAME as CONFIGURATION
from otobotctl.agent.backup.configuration import configuration
from otobotctl.agent.backup.moment import Moment
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.backup.restic import Restic
from otobotctl.agent.backup.shapes import Archive, Job
from otobotctl.agent.backup.stopping import stopped
from otobotctl.agent.backup.under_way import Tell, UnderWay
from otobotctl.agent.dumps import Dump, DumpError, Project, dumps
from otobotctl.agent.lines import canonical
from otobotctl.agent.releases import Releases
from otobotctl.agent.running import Running, running

VERSION = 1
_ROLES = "databases/roles.sql"


class Wanted(NamedTuple):
    """What is asked of a run. With `consistent` what writes is stopped while it matters."""

    reason: str
    consistent: bool
    who: str
    host_lock: str


class Making:
    """One archive under way."""

    def __init__(self, job: Job, places: BackupPlaces, restic: Restic, wanted: Wanted, tell: Tell) -> None:
        self._job, self._places, self._wanted = job, places, wanted
        self._began = time.time()
        self.id = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._began)) + "-" + os.urandom(2).hex()
        self._under_way = UnderWay(restic, self.id, tell)
        self._small: List[Callable[[], None]] = []  # each begins a small part

    def make(self, answer_s: Optional[float] = None) -> "tuple[Archive, int]":
        """Make it; return what archive.json says, and by how many bytes the repository grew.

        A target that has not taken the first small part after `answer_s` is given up.

        Raises:
            DumpError, ProbeError: a part cannot be had.
            ResticError: the repository does not take it.
            RefusedError: what writes cannot be stopped, because another run holds the host.
        """
        here = Releases(self._job["client"])
        number = here.current()
        if number is None:
            raise DumpError(self._job["client"], "nothing is deployed on this host")
        images = here.record(number).get("images") or {}
        sources: List[Dict[str, Any]] = [dict(each) for each in self._job["sources"]]
        project = Project(self._job["project"], here.link)
        wanted = _Dumps.of(dumps([each for each in sources if not images or each["of"] in images], project, False))
        archive = Archive(
            version=VERSION,
            id=self.id,
            client=self._job["client"],
            host=socket.gethostname(),
            made=round(self._began, 3),
            took_s=0.0,
            reason=self._wanted.reason,
            release=number,
            images=images,
            consistent=False,
            parts=self._under_way.parts,
        )
        with self._under_way as under_way:
            data = configuration(here, number, self._places)
            self._small = [lambda: under_way.begin_put(CONFIGURATION, data, answer_s)]
            if self._wanted.consistent:
                self._settle()  # nothing is stopped for a target that does not answer
            self._read(wanted, project, archive)
            self._settle()
            archive["took_s"] = round(time.time() - self._began, 3)
            under_way.head(canonical(archive).encode() + b"\n", tags(archive, len(archive["parts"])))
        return archive, under_way.added

    def _settle(self) -> None:
        """Have every small part saved. Raises DumpError, ResticError."""
        while self._small:
            self._small.pop(0)()
        self._under_way.settle()

    def _ahead(self, coming: Sequence[Dump]) -> None:
        for dump in coming[:1]:
            self._under_way.ahead("/" + dump.name)

    def _read(self, wanted: "_Dumps", project: Project, archive: Archive) -> None:
        """Read everything, and say in `archive` whether it is all of one moment.

        All databases are held at one moment, from before anything is read. What writes need rest only until the files
        are read: a database may change under a snapshot as it likes.
        """
        coming = list(wanted.large)
        with contextlib.ExitStack() as resting, contextlib.ExitStack() as open_ones:
            resting.enter_context(self._quiet())
            self._ahead(coming)  # not before: who stops what writes must not hold the end of what restic reads
            writers = self._writers()
            moments = []
            for each in wanted.databases:
                moments.append(Moment(project, each.service, each.database))
                open_ones.callback(moments[-1].close)
            self._small += [functools.partial(self._under_way.begin_small, each) for each in wanted.roles]
            moved = [each.name for each in wanted.others if self._save(each, coming)]
            quiet = not writers and not self._writers()
            archive["consistent"] = (len(wanted.databases) == 1 and not wanted.others) or (quiet and not moved)
            if self._wanted.consistent:
                self._settle()
            resting.close()
            said = tags(archive, wanted.parts)
            for each, moment in zip(wanted.databases, moments):
                self._save(each, coming, moment, said)

    def _save(self, dump: Dump, coming: List[Dump], moment: Optional[Moment] = None, said: Sequence[str] = ()) -> bool:
        """Save the first of what is `coming`; return whether it changed while it was read.

        The last one has the tags of archive.json, `said`, where they are known by then.

        Raises DumpError, ResticError.
        """
        saving = self._under_way.begin(dump, *(["--snapshot=" + moment.snapshot] if moment else []))
        coming.pop(0)
        self._ahead(coming)
        if said and not coming:
            self._under_way.begin_head(said)
        self._settle()  # before much is read for a repository that does not take it
        rows = moment.rows() if moment else None  # while pg_dump reads the same rows
        return self._under_way.finish(dump, saving, rows)

    @contextlib.contextmanager
    def _quiet(self) -> Iterator[None]:
        """Stop what writes, where that is wanted; nobody deploys meanwhile."""
        if not self._wanted.consistent:
            yield
            return
        holder = {"run": "", "who": self._wanted.who, "at": round(time.time(), 3), "pid": os.getpid()}
        held = lock.acquire(self._wanted.host_lock, holder)
        try:
            name = "otobot-backup-start-{}".format(self.id)
            with stopped(self._writers(), self._places.stopped, name):
                yield
        finally:
            os.close(held)

    def _writers(self) -> List[Running]:
        return [each for each in running(self._job["project"]) if each.service not in self._job["engines"]]


class _Dumps(NamedTuple):
    """What is read, by how: large ones are read one after the other, `others` before `databases`."""

    roles: List[Dump]
    others: List[Dump]
    databases: List[Dump]

    @classmethod
    def of(cls, found: Iterable[Dump]) -> "_Dumps":
        every = list(found)
        roles = [each for each in every if each.name == _ROLES]
        databases = [each for each in every if each.database]
        return cls(roles, [each for each in every if not each.database and each not in roles], databases)

    @property
    def large(self) -> List[Dump]:
        return [*self.others, *self.databases]

    @property
    def parts(self) -> int:
        return len(self.roles) + len(self.large) + 1  # the configuration


def tags(archive: Archive, parts: int) -> List[str]:
    """What the tags of archive.json's snapshot say, so that a list needs to read no archive.

    Its size is not among them: they are said before the last part is read. See sizes.py.
    """
    said = {"reason": archive["reason"], "release": archive["release"], "parts": parts}
    said["consistent"] = "yes" if archive["consistent"] else "no"
    return ["{}={}".format(*each) for each in sorted(said.items())]
