"""Brings a client's log to its repositories, a few times a minute; from the unit otobot-backup-CLIENT-wal.

The container of the receiver has each commit within moments; what is in its directory goes to each target, on its own,
so that one that is dead keeps no other waiting. What a target took is not sent again; what all took is let go of. A
segment is never left out: where one is missing the target's series ends there, and a base has to begin a new one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Callable, Dict, List, Optional, Tuple

from otobotctl.agent.backup import reports, state
from otobotctl.agent.backup.complaints import ResticError
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.pitr import figures, here
from otobotctl.agent.backup.pitr.here import BASES, LOG, Seen, Spool
from otobotctl.agent.backup.pitr.segments import PARTIAL, WAL_FILE, Piece, following, holds, next_after, position
from otobotctl.agent.backup.pitr.server import Server, Told
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job
from otobotctl.agent.backup.remedies import failure
from otobotctl.agent.backup.restic import Restic
from otobotctl.agent.backup.shapes import LOG_S, Job, Target, unit
from otobotctl.agent.dumps import Project
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import ProbeError, StepError
from otobotctl.agent.shell import ask

TICK_S = 15.0
_LIFE_S = 3600.0  # then the unit is started again, with the newest agent
_LIMIT_S = 300.0  # for one snapshot; the other targets go on meanwhile
_MANY = 16  # segments in a snapshot
_FULL = 32  # segments in the directory, above which one target that has them is enough
_BEAT_S = 600.0  # an idle client's newest moment is written to the repository as often
_SLACK_S = 2.0  # a commit has its time before it is in the log
_TAR_CHANGED = 1

_Log = Tuple[str, str]  # the system and the timeline of a server


def main(client: str) -> int:
    """Ship until there is something else to be: another job, another agent. Return the exit status."""
    places, ends = BackupPlaces(client), time.monotonic() + _LIFE_S
    changed = _changed(places)
    shipper: Optional[Shipper] = None
    try:
        while time.monotonic() < ends and changed == _changed(places):
            began = time.monotonic()
            shipper = shipper or Shipper(places, say)
            shipper.tick()
            time.sleep(max(1.0, TICK_S - (time.monotonic() - began)))
    except (JobError, OSError, StepError, ProbeError) as error:
        say(str(error))
        return 1
    return 0


def _changed(places: BackupPlaces) -> float:
    try:
        return os.stat(places.job).st_mtime
    except OSError:
        return 0.0


def say(text: str) -> None:
    """A line for the journal of systemd."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


class Shipper:
    """One client's log. Raises JobError: there is no job, or none of a client with PostgreSQL."""

    def __init__(self, places: BackupPlaces, say: Callable[[str], None]) -> None:
        self._places, self._say = places, say
        self._job: Job = read_job(places)
        found = here.names(self._job)
        if found is None or not self._job["pitr"]:
            raise JobError("{} has no log to ship".format(places.client))
        self._names = found
        places.prepare()
        self._hands = Hands(Project(self._job["project"], Releases(places.client).link), say)
        self._server = Server(self._hands, found.service)
        self._pool = ThreadPoolExecutor(max_workers=max(1, len(self._job["targets"])))
        self._under_way: Dict[str, Tuple[_Log, "Future[Dict[str, Any]]"]] = {}
        self._asked: Dict[str, str] = {}

    def tick(self) -> None:
        """Ask the server, send what there is, and let go of what has arrived. Raises OSError, StepError."""
        if os.path.exists(self._places.restoring):
            return  # the log of what is there belongs to another moment soon
        note = here.read(self._places, LOG)
        try:
            self._collect(note, 0.0)  # what has ended since
            self._go(note)
        except (RestoreError, ProbeError) as error:
            for target in self._job["targets"]:
                self._failed(note, target["name"], "part", str(error))
        self._tell(note)
        here.write(self._places, LOG, note)
        self._ask_for_bases(note)
        figures.publish(self._job, note)

    def _go(self, note: Dict[str, Any]) -> None:
        spool = Spool(self._hands.mountpoint(self._names.spool))
        told = self._server.told()
        if (told.system, told.timeline) != (note["system"], note["timeline"]):
            self._begin(note, told, spool)
        lost = self._lost(told, spool)
        receives = not lost and self._server.received(told.lsn)
        for target in self._job["targets"]:
            name = target["name"]
            if name in self._under_way:
                continue
            if not self._begun(name):
                self._failed(note, name, "waiting", "there is no archive on {} yet".format(name))
                continue
            known, lsn = here.of_target(note, LOG, name), told.lsn if receives else ""
            sending = self._pool.submit(self._send, target, known, told, lsn, spool)
            self._under_way[name] = ((told.system, told.timeline), sending)
        self._collect(note, _LIMIT_S if lost else TICK_S)
        if lost:
            self._anew(note, told, spool)
        elif not receives:
            for target in self._job["targets"]:
                said = "nothing receives the log: the container {} is not well".format(self._names.receiver)
                self._failed(note, target["name"], "receiver", said)
        self._let_go(note, told, spool)

    def _ask_for_bases(self, note: Dict[str, Any]) -> None:
        """Have the base of a new log made at once, and asked for once: its own timer looks every few minutes."""
        lacking = here.without_base(note, here.read(self._places, BASES))
        if lacking and lacking != self._asked:
            with contextlib.suppress(ProbeError):
                ask(["systemctl", "start", "--no-block", "--", unit(self._places.client, "base") + ".service"])
        self._asked = lacking

    def _begun(self, name: str) -> bool:
        """Whether a target is in use: what a host has before its first archive or its restore is nothing to keep."""
        known = state.read(self._places.note)
        return bool(known["restored"]) or state.of_target(known, name)["archive"] is not None

    def _begin(self, note: Dict[str, Any], told: Told, spool: Spool) -> None:
        """Another cluster than the one that is known, or one that was restored: nothing of the former fits it."""
        self._say("the log of system {} on timeline {} begins".format(told.system, told.timeline))
        if note["system"] in ("", told.system):
            spool.clear(told.timeline)  # a segment that is being received right now stays
        else:
            self._server.slot_anew()
            spool.clear()
        note.update(system=told.system, timeline=told.timeline, targets={})

    def _lost(self, told: Told, spool: Spool) -> bool:
        """Whether the server has let go of what the receiver needs next."""
        if told.slot in ("absent", "lost"):
            return True
        whole, partial = spool.look(told.timeline)
        wanted = partial or (following(whole[-1]) if whole else "")
        return bool(wanted and told.oldest and wanted < told.oldest)

    def _anew(self, note: Dict[str, Any], told: Told, spool: Spool) -> None:
        """What could be sent is sent; from here on another series, which the next base begins."""
        there = any(spool.look(told.timeline))
        if self._under_way or any(each["error"] for each in note["targets"].values() if there):
            return  # what is in the directory has still to arrive somewhere
        self._server.slot_anew()
        if not there:
            return
        spool.clear()
        self._say("the server had to let go of a part of its log (slot {}): a new base is due".format(told.slot))
        for each in note["targets"].values():
            each.update(series="", last="", position=0)

    def _collect(self, note: Dict[str, Any], limit_s: float) -> None:
        """Take in what the threads have come to. What one of them has sent of another log says nothing of this one.

        With the former's newest segment, those of this log would count as sent and be let go of.
        """
        wait([future for _, future in self._under_way.values()], timeout=limit_s)
        for name, (log, future) in list(self._under_way.items()):
            if future.done():
                del self._under_way[name]
                known = future.result()
                if log == (note["system"], note["timeline"]):
                    note["targets"][name] = known

    def _failed(self, note: Dict[str, Any], name: str, kind: str, message: str) -> None:
        known = here.of_target(note, LOG, name)
        note["targets"][name] = dict(known, error=failure(kind, message, self._places.client, name))

    def _send(self, target: Target, known: Dict[str, Any], told: Told, lsn: str, spool: Spool) -> Dict[str, Any]:
        """Send a target what it lacks; return what is known of it now. In a thread of its own.

        Up to `lsn` the log has been received; "" where that is not known.
        """
        name = target["name"]
        known["error"] = None
        try:
            for part in self._parts(known, spool.look(told.timeline)):
                if not part and not self._due(known, told, lsn):
                    break
                piece = self._piece(part, known, told, lsn, spool)
                if not piece.whole and not piece.partial:
                    break
                self._save(target, known["series"], piece, spool.path)
                known.update(
                    last=part[-1] if part else known["last"], covers=piece.covers, sent=round(time.time(), 3),
                    position=position(piece.lsn) if piece.lsn else known["position"],
                )  # fmt: skip
            if lsn and known["position"] == position(lsn):
                known["covers"] = max(known["covers"], told.at - _SLACK_S)  # nothing was written since
        except ResticError as error:
            known["error"] = failure(error.kind, str(error), self._places.client, name)
            if error.kind == "locked":
                with contextlib.suppress(ResticError):
                    Restic.of(self._places, target).run("unlock", timeout_s=LOG_S)  # of processes that are gone alone
        except (OSError, StepError) as error:
            known["error"] = failure("other", str(error), self._places.client, name)
        return known

    def _parts(self, known: Dict[str, Any], seen: Seen) -> "List[List[str]]":
        """The whole segments that a target lacks, some at a time; the last time with what is being written."""
        new = [name for name in seen.whole if name > known["last"]]
        first = new[0] if new else seen.partial
        if known["last"] and first and first > following(known["last"]):
            self._say("segment {} did not arrive: a new base is due".format(following(known["last"])))
            known.update(series="", position=0)
        if not known["series"]:
            known.update(series=os.urandom(6).hex(), last="")
        parts = [new[start : start + _MANY] for start in range(0, len(new), _MANY)] or [[]]
        return [*parts, []] if len(parts[-1]) == _MANY else parts

    def _piece(self, part: List[str], known: Dict[str, Any], told: Told, lsn: str, spool: Spool) -> Piece:
        """Whole segments and what is being written, and what that covers."""
        last = part[-1] if part else known["last"]
        partial = next_after(last, spool.look(told.timeline).partial) if len(part) < _MANY else ""
        if lsn and holds(partial or last, lsn):
            return Piece(part, partial, told.at - _SLACK_S, lsn)
        return Piece(part, partial, known["covers"], "")

    def _due(self, known: Dict[str, Any], told: Told, lsn: str) -> bool:
        """Whether what is being written has to be sent: it has grown, or the repository should hear of the time."""
        if not lsn:
            return bool(not known["sent"] or told.slot == "lost")
        return bool(position(lsn) != known["position"] or time.time() - known["sent"] > _BEAT_S)

    def _save(self, target: Target, series: str, piece: Piece, directory: str) -> None:
        """One snapshot. Raises ResticError, OSError."""
        which = [*piece.whole, piece.partial + PARTIAL] if piece.partial else piece.whole
        # What is not written yet is nothing but zeros.
        words = ("--create", "--file=-", "--sparse", "--hole-detection=raw", "--numeric-owner")
        restic = Restic.of(self._places, target)
        argv = ["tar", *words, "--directory=" + directory, *which]
        saving = restic.save(argv, b"", WAL_FILE, piece.tags(series), socket.gethostname())
        clock = threading.Timer(_LIMIT_S, saving.interrupt)
        clock.start()
        try:
            saved, status, said = saving.finish((_TAR_CHANGED,))
        finally:
            clock.cancel()
            saving.close()
        if saved is None:  # a segment has become whole under its hands: the next time has it
            raise ResticError("part", "the log cannot be read: tar ended with {}: {}".format(status, said))

    def _let_go(self, note: Dict[str, Any], told: Told, spool: Spool) -> None:
        whole = spool.look(told.timeline).whole
        lasts = [here.of_target(note, LOG, target["name"])["last"] for target in self._job["targets"]]
        enough = max(lasts) if len(whole) > _FULL else min(lasts)
        spool.drop([name for name in whole if name <= enough])

    def _tell(self, note: Dict[str, Any]) -> None:
        """Report what stays behind for longer than was promised, once, and that it has caught up again."""
        now, found = time.time(), []
        for target in self._job["targets"]:
            known = here.of_target(note, LOG, target["name"])
            late = bool(known["error"]) and now - known["covers"] > LOG_S and known["error"]["kind"] != "waiting"
            if known["error"] and not known["told"]:
                self._say("{}: {}".format(target["name"], known["error"]["message"]))
            found.append(reports.Late(target["name"], known["error"], late, known["told"]))
            if late != known["told"]:
                note["targets"][target["name"]] = dict(known, told=late)
        for problem in reports.turned(self._job, "pitr", found):
            self._say(problem)
