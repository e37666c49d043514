"""Makes one archive on one target: every part, and last of all archive.json, which makes them one."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence

from otobotctl.agent import lock
from otobotctl.agent.backup.configuration import NAME as CONFIGURATION
from otobotctl.agent.backup.configuration import configuration
from otobotctl.agent.backup.keeping import TAG
from otobotctl.agent.backup.moment import Moment
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.backup.restic import Restic
from otobotctl.agent.backup.saving import Saved, Saving
from otobotctl.agent.backup.shapes import ARCHIVE_FILE, Archive, Job, Part
from otobotctl.agent.backup.stopping import stopped
from otobotctl.agent.dumps import Dump, DumpError, Project, dumps
from otobotctl.agent.lines import canonical
from otobotctl.agent.releases import Releases
from otobotctl.agent.running import Running, running

VERSION = 1
_ROLES = "databases/roles.sql"
Tell = Callable[[Dict[str, Any]], None]


class Wanted(NamedTuple):
    """What is asked of a run. With `consistent` what writes is stopped while it matters."""

    reason: str
    consistent: bool
    who: str
    host_lock: str


class Making:
    """One archive under way.

    Each start of restic derives its key anew, which takes half a second of one core and more. So what is small is saved
    while the first large part is: for the repository that is three starts at once, and one more for archive.json.
    """

    def __init__(self, job: Job, places: BackupPlaces, restic: Restic, wanted: Wanted, tell: Tell) -> None:
        self._job, self._places, self._restic, self._wanted, self._tell = job, places, restic, wanted, tell
        self._began = time.time()
        self.id = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(self._began)) + "-" + os.urandom(2).hex()
        self._host = socket.gethostname()
        self._tags = [TAG + self.id]
        self._parts: List[Part] = []
        self._under_way: List[Callable[[], Any]] = []  # each waits for a small part

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
        wanted = list(
            dumps([each for each in sources if not images or each["of"] in images], self._project(here), False)
        )
        with contextlib.ExitStack() as ends:
            self._begin_configuration(configuration(here, number, self._places), answer_s, ends)
            if self._wanted.consistent:
                self._settle()  # nothing is stopped for a target that does not answer
            consistent = self._read(wanted, ends)
            self._settle()
        archive = Archive(
            version=VERSION,
            id=self.id,
            client=self._job["client"],
            host=self._host,
            made=round(self._began, 3),
            took_s=round(time.time() - self._began, 3),
            reason=self._wanted.reason,
            release=number,
            images=images,
            consistent=consistent,
            parts=self._parts,
        )
        tags = [*self._tags, *("{}={}".format(*each) for each in sorted(about(archive).items()))]
        last = self._restic.put(canonical(archive).encode() + b"\n", ARCHIVE_FILE, tags, self._host)
        return archive, self._added + last.added

    _added = 0

    def _project(self, here: Releases) -> Project:
        return Project(self._job["project"], here.link)

    def _begin_configuration(self, data: bytes, answer_s: Optional[float], ends: contextlib.ExitStack) -> None:
        self._tell({"part": CONFIGURATION})
        putting = self._restic.putting(data, CONFIGURATION, self._tags, self._host)
        ends.callback(putting.close)
        self._under_way.append(lambda: self._saved(CONFIGURATION, putting.finish(answer_s), "", None))

    def _begin_small(self, dump: Dump, ends: contextlib.ExitStack) -> None:
        saving = self._start(dump, None)
        ends.callback(saving.close)
        self._under_way.append(lambda: self._finish(dump, saving, None))

    def _settle(self) -> None:
        """Wait for every small part. Raises DumpError, ResticError."""
        while self._under_way:
            self._under_way.pop(0)()

    def _read(self, wanted: Sequence[Dump], ends: contextlib.ExitStack) -> bool:
        """Read everything; return whether it is all of one moment.

        All databases are held at one moment, from before anything is read. What writes need rest only until the files
        are read: a database may change under a snapshot as it likes.
        """
        databases = [each for each in wanted if each.database]
        roles = [each for each in wanted if each.name == _ROLES]
        others = [each for each in wanted if not each.database and each not in roles]
        with contextlib.ExitStack() as resting, contextlib.ExitStack() as open_ones:
            resting.enter_context(self._quiet())
            writers = self._writers()
            moments = []
            for each in databases:
                moments.append(Moment(self._project(Releases(self._job["client"])), each.service, each.database))
                open_ones.callback(moments[-1].close)
            for each in roles:
                self._begin_small(each, ends)
            moved = [each.name for each in others if self._dump(each, None)]
            quiet = not writers and not self._writers()
            if self._wanted.consistent:
                self._settle()
            resting.close()
            for each, moment in zip(databases, moments):
                self._dump(each, moment)
        return (len(databases) == 1 and not others) or (quiet and not moved)

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

    def _dump(self, dump: Dump, moment: Optional[Moment]) -> bool:
        """Save one dump; return whether it changed while it was read. Raises DumpError, ResticError."""
        saving = self._start(dump, moment)
        try:
            self._settle()  # before much is read for a repository that does not take it
            rows = moment.rows() if moment else None  # while pg_dump reads the same rows
            return self._finish(dump, saving, rows)
        finally:
            saving.close()

    def _start(self, dump: Dump, moment: Optional[Moment]) -> Saving:
        argv = [*dump.argv, "--snapshot=" + moment.snapshot] if moment else dump.argv
        name = "/" + dump.name
        self._tell({"part": name})
        try:
            return self._restic.save(argv, dump.stdin, name, self._tags, self._host)
        except OSError as error:
            raise DumpError(dump.name, "{} cannot be run: {}".format(argv[0], error.strerror)) from error

    def _finish(self, dump: Dump, saving: Saving, rows: Optional[Dict[str, int]]) -> bool:
        saved, status, said = saving.finish(dump.tolerated)
        said = said.replace(dump.secret, "***") if dump.secret else said
        if saved is None:
            raise DumpError(dump.name, "{} ended with {}: {}".format(dump.program, status, said or "no word why"))
        self._saved("/" + dump.name, saved, (said or "changed while it was read") if status else "", rows)
        return bool(status)

    def _saved(self, name: str, saved: Saved, note: str, rows: Optional[Dict[str, int]]) -> None:
        self._added += saved.added
        self._parts.append(Part(name=name, snapshot=saved.snapshot, bytes=saved.bytes, note=note, rows=rows))
        self._tell({"saved": name, "bytes": saved.bytes, "added": saved.added})


def about(archive: Archive) -> Dict[str, Any]:
    """What the tags of archive.json's snapshot say, so that a list needs to read no archive."""
    return {
        "reason": archive["reason"],
        "release": archive["release"],
        "bytes": sum(part["bytes"] for part in archive["parts"]),
        "parts": len(archive["parts"]),
        "consistent": "yes" if archive["consistent"] else "no",
    }
