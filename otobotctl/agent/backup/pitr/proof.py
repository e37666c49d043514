"""A drill of the log: the newest base and all that follows it, replayed in a container that reaches nobody.

What is measured is what a disaster would cost with point-in-time recovery: how old the newest moment is that can be
had, and how long it takes until PostgreSQL is at it. Everything is in the container's own volume, so that it is gone
with it; it ends by itself within a day, whoever is killed, and the next drill removes what still runs.
"""

from __future__ import annotations

import time
from typing import Any, Callable, Dict, List, Mapping

from otobotctl.agent.backup import moment
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.pitr import here, moments, segments
from otobotctl.agent.backup.pitr.cluster import Cluster
from otobotctl.agent.backup.pitr.moments import Found
from otobotctl.agent.backup.pitr.recovery import FETCH, LOG, Inside, last
from otobotctl.agent.backup.pitr.segments import BASE_FILE, WAL_FILE
from otobotctl.agent.backup.restic import Restic
from otobotctl.agent.backup.shapes import Archive, Job
from otobotctl.agent.backup.throwaway import LABEL, MILD, PREFIX, DrillError, refuse_without_room
from otobotctl.agent.dumps import psql
from otobotctl.agent.run import last_words
from otobotctl.agent.shell import ask

_DAY_S, _LIMIT_S, _ASK_S, _PAUSE_S = 86400, 6 * 3600.0, 600.0, 0.5
_PLACE = "/var/lib/postgresql/data"  # a volume of the image's, whose PostgreSQL's account may write there
_DATA, _SAID = _PLACE + "/drill", _PLACE + "/drill.log"
_UNPACK = 'mkdir -p -m 700 "$0" && tar -x -p -f - -C "$0" && cat >/dev/null'  # not every tar reads what follows the end
_READY = 'cat >>"$0/postgresql.auto.conf" && : >"$0/recovery.signal"'
_SETTINGS = "restore_command = '{}'\nhot_standby = off\narchive_mode = off\nlisten_addresses = ''\n".format(FETCH)
_START = ("pg_ctl", "start", "--silent", "--no-wait", "--pgdata=" + _DATA, "--log=" + _SAID)
_STATUS = ("pg_ctl", "status", "--silent", "--pgdata=" + _DATA)
# Where the replay ended: the last line of the history of the timeline that it went on in.
_HISTORY = """SELECT pg_read_file('pg_wal/' || name) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{8}\\.history$'
ORDER BY name DESC LIMIT 1;"""


class Replay:
    """One drill of the log of a client in one repository. `note` is what the client's host knows of it (here.LOG)."""

    def __init__(
        self, job: Job, restic: Restic, note: Mapping[str, Any], say: Callable[[Dict[str, Any]], None]
    ) -> None:
        self._job, self._restic, self._note, self._say = job, restic, note, say
        self._name = PREFIX + job["client"] + "-log"
        self._hands = Hands(Inside(self._name, ""), lambda _: None)

    def run(self, service: str, image: str, archive: Archive) -> "tuple[Dict[str, Any], str]":
        """Replay, count and compare with the newest `archive`; return what was found, and what is wrong with it or "".

        Raises:
            ResticError, RestoreError, DrillError, DumpError, ProbeError, OSError: it cannot be replayed.
        """
        began = time.time()
        found = self._newest()
        refuse_without_room(Cluster.room(found), "to replay the log")
        chain = found.chain
        self._say({"replaying": _moment(chain.until), "base": chain.base.id, "pieces": len(chain.wal)})
        self._start(image or self._lacks(service))
        self._fill(found)
        self._replay()
        took_s = time.time() - began
        reached = self._reached()
        databases, wrong = self._counted(archive)
        least = segments.reaches(chain)
        if segments.position(reached) < least:
            text = "the replay ended at {}, {:.1f} MB before the end of the log"
            wrong.append(text.format(reached, (least - segments.position(reached)) / 1e6))
        if chain.gap:
            wrong.append("segment {} is missing: nothing after {} can be had".format(chain.gap, _moment(chain.until)))
        return {
            "base": chain.base.id, "since": round(chain.since, 3), "until": round(chain.until, 3),
            "rpo_s": round(max(0.0, began - chain.until), 3), "took_s": round(took_s, 3), "pieces": len(chain.wal),
            "bytes": chain.base.bytes, "reached": reached, "databases": databases,
            "rows": sum(each["rows"] for each in databases.values()),
        }, "; ".join(wrong)  # fmt: skip

    def _newest(self) -> Found:
        listed = self._restic.snapshots("--tag", segments.TAG)
        chains = moments.chains_of(listed, here.of_target(self._note, here.LOG, self._restic.name))
        if not chains:
            raise DrillError("there is no base with a log on {} yet".format(self._restic.name))
        return Found(self._restic, max(chains, key=lambda each: (each.until, each.since)))

    def _lacks(self, service: str) -> str:
        raise DrillError("the archive does not say which image {} had".format(service))

    def _start(self, image: str) -> None:
        """A container of the image that does nothing by itself, as PostgreSQL's account."""
        words = ["--detach", "--network", "none", "--shm-size=128m", "--user", "postgres", "--entrypoint", "sleep"]
        argv = ["docker", "run", "--rm", "--name", self._name, "--label", LABEL + self._job["client"], *MILD, *words]
        answer = ask([*argv, image, str(_DAY_S)], timeout_s=_ASK_S)
        if answer.status:
            raise DrillError("the container for the log cannot be made: " + last_words(answer.stderr.encode()))

    def _fill(self, found: Found) -> None:
        project, base, log = self._hands.project, found.chain.base, _DATA + "/" + LOG
        into = project.inside("", "sh", "-c", _UNPACK, _DATA)
        self._hands.flow(found.restic.dump(base.snapshot, BASE_FILE), into, "the base")
        for each in found.chain.wal:
            into = project.inside("", "sh", "-c", _UNPACK, log)
            self._hands.flow(found.restic.dump(each.snapshot, WAL_FILE), into, "the log")
        self._hands.tell(project.inside("", "sh", "-c", _READY, _DATA), _SETTINGS, "writing its settings")

    def _replay(self) -> None:
        """Start the server, and wait until it has replayed all that there is and takes questions."""
        project = self._hands.project
        well = not ask(project.inside("", *_START), timeout_s=_ASK_S).status
        asking = project.inside("", *psql("postgres"), "--command=SELECT pg_is_in_recovery()")
        deadline = time.monotonic() + _LIMIT_S
        while well and time.monotonic() < deadline:
            if ask(asking, timeout_s=_ASK_S).stdout.strip() == "f":
                return
            well = not ask(project.inside("", *_STATUS), timeout_s=_ASK_S).status
            time.sleep(_PAUSE_S)
        said = ask(project.inside("", "tail", "-n", "40", _SAID), timeout_s=_ASK_S)
        raise RestoreError("the log cannot be replayed: {}".format(last(said.stdout + said.stderr)))

    def _reached(self) -> str:
        lines: List[List[str]] = [line.split() for line in self._hands.sql("", _HISTORY).splitlines()]
        told = [words[1] for words in lines if len(words) > 1 and "/" in words[1]]
        if not told:
            raise RestoreError("PostgreSQL does not say until where it replayed the log")
        return told[-1]

    def _counted(self, archive: Archive) -> "tuple[Dict[str, Dict[str, Any]], List[str]]":
        """The rows of each database of the client; and which of them are not there, or have nothing in them."""
        there = set(self._hands.sql("", "SELECT datname FROM pg_database;").split())
        known = {part["name"]: sum((part["rows"] or {}).values()) for part in archive["parts"]}
        counted: Dict[str, Dict[str, Any]] = {}
        wrong = []
        for name in [each["name"] for each in self._job["sources"] if each["kind"] == "postgres"]:
            if name not in there:
                wrong.append("the database {} is not in it".format(name))
                continue
            rows = moment.rows_of(self._hands.project, "", name)
            counted[name] = {"rows": sum(rows.values()), "tables": len(rows), "digest": moment.digest(rows)}
            before = known.get("/databases/{}.dump".format(name)) or 0
            if before and not counted[name]["rows"]:
                wrong.append("the database {} is empty, and the archive has {} rows of it".format(name, before))
        return counted, wrong


def _moment(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at))
