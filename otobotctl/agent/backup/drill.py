"""`otobot-backup CLIENT drill`, and what an operator's `backup drill` is served by."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from typing import Any, Callable, Dict

from otobotctl.agent import compose, lock
from otobotctl.agent.backup import reports, signing, state, throwaway
from otobotctl.agent.backup.clock import leave_when_told
from otobotctl.agent.backup.drilling import VAULT, Drill
from otobotctl.agent.backup.pitr import here as log
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job
from otobotctl.agent.backup.places import target as target_of
from otobotctl.agent.backup.remedies import failure
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.shapes import Job, Target
from otobotctl.agent.backup.throwaway import DrillError
from otobotctl.agent.lines import decode
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import ProbeError, StepError
from otobotctl.agent.shell import ask
from otobotctl.agent.wire import RefusedError

Say = Callable[[Dict[str, Any]], None]


def main(client: str) -> int:
    """Drill one target, another each month; return 1 where the archive was not proved.

    It is done in a process of its own: where that one is killed, what it has left is removed at once.
    """
    child = os.fork()
    if not child:
        leave_when_told()
        status = 1
        try:
            status = _main(client)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # systemd tells the child too, and that one cleans up
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        clean(BackupPlaces(client))
        sys.stderr.write("the drill was killed ({}); what it had left is removed\n".format(os.WTERMSIG(status)))
    return 0 if status == 0 else 1


def clean(places: BackupPlaces) -> int:
    """Remove what a killed drill has left, unless one is under way; return how many containers there were."""
    places.prepare()
    try:
        held = lock.acquire(_lock(places), {"run": "drill", "who": "", "at": round(time.time(), 3), "pid": os.getpid()})
    except RefusedError:
        return 0
    try:
        return throwaway.clear(places.client)
    finally:
        os.close(held)


def _lock(places: BackupPlaces) -> str:
    return os.path.join(places.runtime, "drill-{}.lock".format(places.client))


def _main(client: str) -> int:
    places = BackupPlaces(client)
    try:
        job = read_job(places)
        done = drill(places, job, _turn(job, places), "the timer", _print)
    except (JobError, RefusedError) as error:
        sys.stderr.write("{}\n".format(error))
        return 1
    for problem in reports.report(job, "drill", [{"target": done["target"], "error": done["error"]}], {}):
        sys.stderr.write(problem + "\n")
    return 1 if done["error"] else 0


def serve(request: Dict[str, Any], places: BackupPlaces, tell: Say) -> None:
    """Drill the target that an operator asks for ("": the first), or show a report. Raises RefusedError."""
    asked = request["asked"]
    try:
        job = read_job(places)
        if request["word"] == "reports":
            tell({"signed": signing.read(os.path.join(places.state, "reports"), asked["report"])})
            return
        tell({"done": drill(places, job, target_of(job, asked["target"]), request["who"], tell)})
    except LookupError as error:
        raise RefusedError("backup", "{} has no report of a drill".format(places.client)) from error
    except JobError as error:
        raise RefusedError("backup", str(error)) from error


def drill(places: BackupPlaces, job: Job, target: Target, who: str, say: Say) -> Dict[str, Any]:
    """Drill a target, remove everything, sign the report and note it; return target, signed, and error or None.

    Raises:
        RefusedError: another drill of this client is under way.
    """
    held = alone(places, who)

    def run() -> Dict[str, Any]:
        restic = Restic.of(places, target)
        return Drill(job, restic, lambda: _vault(job), say, note=log.read(places, log.LOG)).run()

    report, wrong = proved(places.client, target["name"], run)
    os.close(held)
    return {"target": target["name"], "signed": _keep(places, report, say), "error": wrong}


def alone(places: BackupPlaces, who: str) -> int:
    """Take the lock of this client's drills; return its descriptor. Raises RefusedError: another one is under way."""
    places.prepare()
    holder = {"run": "drill", "who": who, "at": round(time.time(), 3), "pid": os.getpid()}
    try:
        return lock.acquire(_lock(places), holder)
    except RefusedError as error:
        raise RefusedError("locked", "another drill of {} is under way".format(places.client), error.holder) from error


def proved(client: str, name: str, run: Callable[[], Dict[str, Any]]) -> "tuple[Dict[str, Any], Any]":
    """Run a drill of the target `name`, and remove all of its containers; return its report, and its error or None."""
    throwaway.clear(client)  # whatever one before was killed among
    began = time.time()
    wrong: Any = None
    report: Dict[str, Any] = {}
    try:
        report = run()
    except ResticError as failed:
        wrong = failure(failed.kind, str(failed), client, name)
    except (DrillError, ProbeError, OSError) as failed:
        wrong = failure("drill", str(failed), client, name)
    finally:
        throwaway.clear(client)
    if not report:
        report = {"version": 1, "client": client, "target": name, "at": round(began, 3), "ok": False,
                  "took_s": round(time.time() - began, 3), "failed": wrong["message"], "checks": []}  # fmt: skip
    elif not report["ok"]:
        bad = "; ".join("{}: {}".format(each["name"], each["error"]) for each in report["checks"] if not each["ok"])
        wrong = failure("drill", "archive {} was not proved: {}".format(report["archive"], bad), client, name)
    return dict(report, host=socket.gethostname()), wrong


def note(places: BackupPlaces, report: Dict[str, Any], named: str) -> None:
    """Make it the client's newest drill, unless a later one is known. Raises OSError, StepError."""
    about = {"at": report["at"], "ok": report["ok"], "took_s": report["took_s"], "report": named}
    about.update({key: report.get(key) for key in ("target", "archive", "rpo_s", "age_s", "on")})
    replayed = report.get("log")  # with point-in-time recovery
    about["log"] = {key: replayed[key] for key in ("until", "rpo_s", "took_s")} if replayed else None

    def alter(known: Dict[str, Any]) -> None:
        if not known["drill"] or known["drill"]["at"] <= about["at"]:
            known["drill"] = about

    known = state.change(places.note, alter)
    with contextlib.suppress(JobError):
        reports.publish(read_job(places), known)


def named(report: Dict[str, Any]) -> str:
    """The file that a report is kept in."""
    return time.strftime("%Y%m%dT%H%M%SZ.json", time.gmtime(report["at"]))


def _keep(places: BackupPlaces, report: Dict[str, Any], say: Say) -> Dict[str, Any]:
    try:
        signed = signing.write(os.path.join(places.state, "reports"), named(report), report)
        note(places, report, named(report))
    except (OSError, StepError) as error:
        say({"warning": "the drill could not be noted in {}: {}".format(places.state, error)})
        return {"report": "", "signatures": []}
    return signed


def _vault(job: Job) -> Dict[str, str]:
    """The variables of the vault's container, which reach the drill's database instead. Raises DrillError."""
    here = Releases(job["client"])
    answer = ask(compose.argv(job["project"], here.link, "config", "--format", "json"))
    if answer.status:
        raise DrillError("docker compose does not read the release ({})".format(answer.status))
    return compose.variables(decode(answer.stdout), VAULT)


def _turn(job: Job, places: BackupPlaces) -> Target:
    """The target after the one that was drilled last: each has its turn."""
    names = [each["name"] for each in job["targets"]]
    last = (state.read(places.note)["drill"] or {}).get("target")
    return job["targets"][(names.index(last) + 1) % len(names) if last in names else 0]


def _print(record: Dict[str, Any]) -> None:
    """The journal of systemd keeps it."""
    if "check" in record:
        sys.stdout.write("{}: {}\n".format(record["check"], record["wrong"] or "well"))
        sys.stdout.flush()
