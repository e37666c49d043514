"""Makes a base where one is due: a copy of PostgreSQL's data directory, streamed into each repository.

Due is the first of a day (02:00 UTC), and at once where the log of a target has none: at first, after a restore, and
after a part of the log was lost. The copy comes from `pg_basebackup` in the client's own container, with no log in it:
that arrives on its own. What dies on the way leaves a copy without its second snapshot, base.json, which is no base.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any, Callable, Dict

from otobotctl.agent import lock
from otobotctl.agent.backup.complaints import ResticError
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.pitr import here
from otobotctl.agent.backup.pitr.here import BASES, LOG
from otobotctl.agent.backup.pitr.segments import BASE, BASE_FILE, HEAD_FILE, TAG, of_lsn
from otobotctl.agent.backup.pitr.server import Server
from otobotctl.agent.backup.pitr.ship import say
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job
from otobotctl.agent.backup.remedies import failure
from otobotctl.agent.backup.restic import Restic
from otobotctl.agent.backup.shapes import Job, Target
from otobotctl.agent.dumps import ADMIN, Project
from otobotctl.agent.lines import canonical
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import ProbeError, StepError
from otobotctl.agent.wire import RefusedError

_DAY_S = 86400.0
_BEGINS_S = 2 * 3600.0  # of a day, in UTC: when the schedule makes its first archive
_AGAIN_S = 900.0  # one that failed is not tried again at once


def main(client: str) -> int:
    """Make what is due; return the exit status."""
    places = BackupPlaces(client)
    try:
        return int(not Bases(places, say).make())
    except (JobError, OSError, StepError) as error:
        say(str(error))
        return 1


def due(log: Dict[str, Any], base: Dict[str, Any], now: float) -> bool:
    """Whether a target needs a base, by what the notes say of its log and of its bases."""
    if not log["series"]:
        return False  # nothing has arrived there yet, so nothing would follow it
    error, made = base["error"], base["base"]
    if error and now - error["at"] < _AGAIN_S:
        return False
    return here.lacks_base(log, base) or int((now - _BEGINS_S) // _DAY_S) > int((made["at"] - _BEGINS_S) // _DAY_S)


class Bases:
    """The bases of one client."""

    def __init__(self, places: BackupPlaces, say: Callable[[str], None]) -> None:
        self._places, self._say = places, say
        self._job: Job = read_job(places)
        self._hands = Hands(Project(self._job["project"], Releases(places.client).link), say)

    def make(self) -> bool:
        """Make what is due, one target after the other; return whether all of it went well. Raises OSError."""
        names = here.names(self._job)
        if names is None or not self._job["pitr"] or os.path.exists(self._places.restoring):
            return True
        self._places.prepare()
        try:
            about = {"run": "base", "who": "the schedule", "at": round(time.time(), 3), "pid": os.getpid()}
            held = lock.acquire(self._places.lock + ".base", about)
        except RefusedError:
            return True  # one is being made
        try:
            done = [self._on(target, names.service) for target in self._job["targets"]]
            return all(done)
        finally:
            os.close(held)

    def _on(self, target: Target, service: str) -> bool:
        name = target["name"]
        log = here.of_target(here.read(self._places, LOG), LOG, name)
        known = here.of_target(here.read(self._places, BASES), BASES, name)
        if not due(log, known, time.time()):
            return True
        began = time.time()
        try:
            made = self._make(target, service, log["series"])
            known.update(base=made, error=None)
            self._say("{}: base {} in {:.0f} s".format(name, made["id"], time.time() - began))
        except (ResticError, RestoreError, ProbeError, OSError, StepError) as error:
            kind = error.kind if isinstance(error, ResticError) else "part"
            known["error"] = {**failure(kind, str(error), self._places.client, name), "at": round(time.time(), 3)}
            self._say("{}: no base: {}".format(name, error))
        note = here.read(self._places, BASES)
        note["targets"][name] = known
        here.write(self._places, BASES, note)
        return known["error"] is None

    def _make(self, target: Target, service: str, series: str) -> Dict[str, Any]:
        """One base. Raises ResticError, RestoreError, OSError."""
        server = Server(self._hands, service)
        before = server.told()
        ident = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(before.at)) + "-" + os.urandom(2).hex()
        restic = Restic.of(self._places, target)
        tags = [TAG, BASE + ident]
        words = ("--username=" + ADMIN, "--no-password", "--pgdata=-", "--format=tar", "--wal-method=none")
        argv = self._hands.project.inside(service, "pg_basebackup", *words, "--checkpoint=fast", "--label=otobot")
        saving = restic.save(argv, b"", BASE_FILE, tags, socket.gethostname())
        try:
            saved, status, said = saving.finish()
        finally:
            saving.close()
        if saved is None:
            raise RestoreError("pg_basebackup ended with {}: {}".format(status, said or "no word why"))
        after = server.told()
        if after.timeline != before.timeline:
            raise RestoreError("the database was restored meanwhile")
        first = of_lsn(before.lsn, before.timeline)
        about = {
            "base": ident, "series": series, "first": first, "made": round(before.at, 3), "ended": round(after.at, 3),
            "bytes": saved.bytes,
        }  # fmt: skip
        tags = [TAG, *("{}={}".format(*each) for each in about.items())]
        restic.put(
            canonical({**about, "snapshot": saved.snapshot}).encode() + b"\n", HEAD_FILE, tags, socket.gethostname()
        )
        return {"id": ident, "at": about["made"], "first": first, "series": series}
