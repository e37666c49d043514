"""One run: an archive on each target of a client, one after the other. What fails on one costs the others nothing."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import Any, Dict, List, NamedTuple, Optional, Sequence

from otobotctl.agent import lock
from otobotctl.agent.backup import pruning, reports, sizes, state, stopping
from otobotctl.agent.backup.clock import Clock, LimitError, TerminatedError
from otobotctl.agent.backup.making import Making, Wanted
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job, targets
from otobotctl.agent.backup.remedies import failure
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.shapes import Archive, Job, Target
from otobotctl.agent.backup.under_way import Tell
from otobotctl.agent.dumps import DumpError
from otobotctl.agent.protocol import LOCK_PATH
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import ProbeError, StepError
from otobotctl.agent.wire import RefusedError

PATIENCE_S = 1800.0  # a run of the schedule waits so long for one before it
DEPLOY_S = 1200.0  # a deploy that has replaced what was being read ends first, then it is read again
ANSWER_S = 120.0  # a target that has not answered by then is taken for dead
PRUNE_EVERY_S = 20 * 3600.0
_STUCK_S = 3 * 86400.0  # a prune that somebody is in the way of for so long is a failure


def main(client: str) -> int:
    """What the timer starts: an archive on every target; told on stderr. Returns 0, or 1 where something failed."""
    wanted = Wanted("schedule", consistent=False, who="the schedule", host_lock=LOCK_PATH)
    try:
        results = Run(BackupPlaces(client), Asked(wanted, patience_s=PATIENCE_S), Clock(lambda: None), _say).make()
    except (JobError, RefusedError, OSError, StepError, ProbeError) as error:
        sys.stderr.write("{}: {}\n".format(client, error))
        return 1
    except TerminatedError:
        sys.stderr.write("{}: ended before it was done\n".format(client))
        return 1
    return int(any(each["error"] for each in results))


def _say(record: Dict[str, Any]) -> None:
    """A line of the journal for each thing that happens."""
    result = record.get("result")
    if result and result["error"]:
        line = "{}: {message}; {remedy}".format(result["target"], **result["error"])
    elif result:
        line = "{}: archive {id}, {bytes} bytes in {took_s:.1f} s".format(result["target"], **result["archive"])
    elif "saved" in record:
        line = "{saved}: {bytes} bytes, {added} new".format(**record)
    elif "again" in record:
        line = "{again}: once more, because a deploy came in between".format(**record)
    elif "warning" in record:
        line = str(record["warning"])
    elif "started" in record:
        line = "{started}: started again; a run that died had stopped it".format(**record)
    else:
        return
    sys.stderr.write(line + "\n")
    sys.stderr.flush()


class Asked(NamedTuple):
    """What a run is asked for. No `targets`: all. `limit_s` is for each target, `patience_s` for a run before it."""

    wanted: Wanted
    targets: Sequence[str] = ()
    limit_s: float = 4 * 3600.0
    patience_s: float = 0.0


class Run:
    """A run of one client's backup; whoever makes it holds the client's backup lock until `close`."""

    def __init__(self, places: BackupPlaces, asked: Asked, clock: Clock, tell: Tell) -> None:
        """Take the lock. Raises JobError; RefusedError "locked": another run of this client is under way."""
        self.places, self._asked, self._clock, self._tell = places, asked, clock, tell
        self.job: Job = read_job(places)
        places.prepare()
        self._targets = targets(self.job, asked.targets)
        self._killed: List[str] = []  # targets whose last run did not end
        hold(places, asked.wanted.who, asked.patience_s)

    def make(self) -> List[Dict[str, Any]]:
        """Make an archive on each target; return a result each: target, archive (in short) or None, error or None."""
        for service in stopping.mend(self.places.stopped):
            self._tell({"started": service})
        before, results = state.read(self.places.note), []
        self._tell_of_killed(before)
        for target in self._targets:
            self._tell({"target": target["name"]})
            results.append(self._on(target))
            self._tell({"result": results[-1]})
            if (results[-1]["error"] or {}).get("kind") == "ended":
                break
        known = state.read(self.places.note)
        reports.publish(self.job, known)
        for problem in reports.report(self.job, self._asked.wanted.reason, results, before):
            self._tell({"warning": problem})
        return results

    def _tell_of_killed(self, before: Dict[str, Any]) -> None:
        """Report what a run that was killed could not."""
        killed = [
            {"target": name, "error": self._failure("ended", state.UNENDED, name)}
            for name, each in before["targets"].items()
            if (each.get("attempt") or {}).get("error") == state.UNENDED
        ]
        self._killed = [str(each["target"]) for each in killed]
        for problem in reports.report(self.job, "killed", killed, {}):
            self._tell({"warning": problem})

    def _on(self, target: Target) -> Dict[str, Any]:
        name, began = target["name"], time.time()
        archive: Optional[Dict[str, Any]] = None
        error: Optional[Dict[str, str]] = None
        self._note(name, began, state.UNENDED)
        try:
            with self._clock.limit(self._asked.limit_s):
                archive = self._archive(target)
                self._prune(target)
        except LimitError:
            text = "{} took longer than {:.0f} s and was ended".format(name, self._asked.limit_s)
            error = self._failure("slow", text, name)
        except TerminatedError:
            error = self._failure("ended", "the run was ended before it was done", name)
        except ResticError as failed:
            error = self._failure(failed.kind, str(failed), name)
        except RefusedError as failed:
            error = self._failure("host-locked", "what writes cannot be stopped: {}".format(failed), name)
        except (DumpError, ProbeError) as failed:
            error = self._failure("part", str(failed), name)
        except (OSError, StepError) as failed:
            error = self._failure("other", "{}: {}".format(type(failed).__name__, failed), name)
        except Exception as failed:  # noqa: BLE001 a defect of ours on one target must not cost the others, nor be silent
            error = self._failure("other", "otobotctl has a defect: {}".format(type(failed).__name__), name)
        self._note(name, began, error["message"] if error else None)
        return {"target": name, "archive": archive, "error": error, "took_s": round(time.time() - began, 3)}

    def _failure(self, kind: str, message: str, target: str) -> Dict[str, str]:
        return failure(kind, message, self.places.client, target)

    def _archive(self, target: Target) -> Dict[str, Any]:
        restic = Restic.of(self.places, target)
        if target["name"] in self._killed:
            with contextlib.suppress(ResticError):  # what stands in the way of an archive is told by that
                restic.run("unlock", timeout_s=ANSWER_S)  # whose process is gone keeps nobody from a prune
        known = state.of_target(state.read(self.places.note), target["name"])["archive"]
        began = time.time()
        try:
            archive, added = self._make(restic, target, known is not None)
        except (DumpError, ProbeError):
            if not self._deployed_since(began):
                raise
            self._tell({"again": target["name"]})
            archive, added = self._make(restic, target, known is not None)
        short = _short(archive, added, known)
        sizes.note(self.places, target["name"], short["id"], short["bytes"])
        first = state.of_target(state.read(self.places.note), target["name"]).get("first") or short["made"]
        state.note_target(self.places.note, target["name"], archive=short, first=first)
        return short

    def _make(self, restic: Restic, target: Target, known: bool) -> "tuple[Archive, int]":
        """Make an archive without asking first whether the repository is there and free: it most often is.

        Each question costs a start of restic. Where one of these stood in the way, it is seen to, and all begins again.
        """
        try:
            return self._making(restic).make(ANSWER_S)
        except ResticError as error:
            if error.kind not in ("absent", "locked", "slow"):
                raise
        reach(restic, target, known)
        return self._making(restic).make()

    def _making(self, restic: Restic) -> Making:
        return Making(self.job, self.places, restic, self._asked.wanted, self._tell)

    def _deployed_since(self, began: float) -> bool:
        """Whether a deploy has replaced containers under the run's hands; one that is under way is waited for."""
        deadline = time.monotonic() + DEPLOY_S
        busy = lock.holder(self._asked.wanted.host_lock) is not None
        while lock.holder(self._asked.wanted.host_lock) is not None and time.monotonic() < deadline:
            time.sleep(1)
        return busy or Releases(self.job["client"]).touched_at() >= began

    def _prune(self, target: Target) -> None:
        """Prune once a day, after the archive of the schedule. A repository that is in use is pruned another day."""
        last = state.of_target(state.read(self.places.note), target["name"])["pruned"]
        now = time.time()
        due = last is None or now - last["at"] > PRUNE_EVERY_S
        if target["append_only"] or self._asked.wanted.reason != "schedule" or not due:
            return
        self._tell({"pruning": target["name"]})
        restic = Restic.of(self.places, target)
        try:
            pruning.prune(restic, self.job["keep"], now, self.job.get("pitr_days", 7))
        except ResticError as error:
            if error.kind == "locked" and last is not None and now - last["at"] < _STUCK_S:
                return
            raise ResticError(error.kind, "the archive is there, but pruning failed: {}".format(error)) from error
        state.note_target(self.places.note, target["name"], pruned={"at": round(now, 3)})

    def _note(self, name: str, began: float, error: Optional[str]) -> None:
        attempt = {"at": round(began, 3), "error": error}
        try:
            state.note_target(self.places.note, name, attempt=attempt)
        except (OSError, StepError):
            self._tell({"warning": "the run could not be noted in {}".format(self.places.note)})


def hold(places: BackupPlaces, who: str, patience_s: float) -> int:
    """Take the client's backup lock, waiting for who has it; return its descriptor. Raises RefusedError "locked"."""
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return lock.acquire(places.lock, {"run": "backup", "who": who, "at": round(time.time(), 3), "pid": 0})
        except RefusedError as error:
            if time.monotonic() >= deadline:
                said = "another run of {}'s backup is under way".format(places.client)
                raise RefusedError("locked", said, error.holder) from error
            time.sleep(1)


def reach(restic: Restic, target: Target, known: bool) -> None:
    """See that the repository answers; make it where none was ever known there. Raises ResticError.

    One that was there and is not (a disk that is not mounted) is never made anew: that would look like a backup.
    """
    # Taking away locks of processes that are gone alone (restic looks) asks for the key and an answer as well.
    question = ("cat", "config", "--no-lock") if target["append_only"] else ("unlock",)
    try:
        restic.run(*question, timeout_s=ANSWER_S)
    except ResticError as error:
        if error.kind == "slow":
            raise ResticError("slow", "{} does not answer in {:.0f} s".format(target["name"], ANSWER_S)) from error
        if error.kind != "absent" or known:
            raise
        restic.run("init", timeout_s=ANSWER_S)


def _short(archive: Archive, added: int, before: Optional[Dict[str, Any]]) -> Dict[str, Any]:
    """What state.json keeps of an archive."""
    size = sum(part["bytes"] for part in archive["parts"])
    return {
        "id": archive["id"],
        "made": archive["made"],
        "bytes": size,
        "added": added,
        "grew": size - before["bytes"] if before else None,
        "took_s": archive["took_s"],
        "consistent": archive["consistent"],
        "reason": archive["reason"],
        "release": archive["release"],
    }
