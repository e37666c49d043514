"""`otobot-backup CLIENT verify`, and what an operator's `backup verify` is served by: each target is checked."""

from __future__ import annotations

import sys
import time
from typing import Any, Callable, Dict, List, Sequence

from otobotctl.agent.backup import reports, state, verifying
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job, targets
from otobotctl.agent.backup.remedies import failure
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.runner import hold, reach
from otobotctl.agent.backup.shapes import Job, Target
from otobotctl.agent.run import StepError
from otobotctl.agent.wire import RefusedError

Tell = Callable[[Dict[str, Any]], None]
_PATIENCE_S = 2 * 3600.0  # a timer waits for the run before it


def main(client: str) -> int:
    """Check a part of every target; return 1 where anything is not as it should be."""
    places = BackupPlaces(client)
    try:
        job = read_job(places)
        results = check(places, (), False, "the timer", _PATIENCE_S, _print)
    except (JobError, RefusedError) as error:
        sys.stderr.write("{}\n".format(error))
        return 1
    for problem in reports.report(job, "verify", results, {}):
        sys.stderr.write(problem + "\n")
    reports.publish(job, state.read(places.note))
    return 1 if any(each["error"] for each in results) else 0


def serve(request: Dict[str, Any], places: BackupPlaces, tell: Tell) -> None:
    """Check what an operator asks for: `targets` (none: all), `full`. Raises RefusedError."""
    try:
        asked = request["asked"]
        results = check(places, asked["targets"], asked["full"], request["who"], 0.0, tell)
    except JobError as error:
        raise RefusedError("backup", str(error)) from error
    tell({"results": results})


def check(
    places: BackupPlaces, names: Sequence[str], full: bool, who: str, patience_s: float, tell: Tell
) -> List[Dict[str, Any]]:
    """Check these targets (none: all) one after the other, and note what came of it.

    A result has target, part, of, took_s, damaged, whole, unknown; error is None, or kind, message and remedy, and
    details, which are lines.

    Raises:
        JobError: there is no backup here. RefusedError: no such target, or another run holds the client's backup.
    """
    job = read_job(places)
    chosen = targets(job, names)
    places.prepare()
    hold(places, who, patience_s)
    return [_one(places, job, each, full, tell) for each in chosen]


def _one(places: BackupPlaces, job: Job, target: Target, full: bool, tell: Tell) -> Dict[str, Any]:
    name, began = target["name"], time.time()
    last = state.of_target(state.read(places.note), name)["verified"]
    part, of = (1, 1) if full else (verifying.next_part(last, began), verifying.PARTS)
    tell({"target": name, "part": part, "of": of})
    restic = Restic.of(places, target)
    kind = ""
    try:
        reach(restic, target, known=True)
        verdict = verifying.verify(restic, target["append_only"], part, of)
    except ResticError as error:
        kind, verdict = error.kind, verifying.Verdict(part, of, str(error), False, [], [], False)
    try:
        state.note_target(places.note, name, verified=verifying.noted(verdict, last, round(time.time(), 3)))
    except (OSError, StepError):
        tell({"warning": "the check could not be noted in {}".format(places.note)})
    result = {
        "target": name, "part": part, "of": of, "took_s": round(time.time() - began, 3), "error": None,
        "damaged": verdict.damaged, "whole": verdict.whole, "unknown": verdict.unknown,
    }  # fmt: skip
    if verdict.error:
        others = [each["name"] for each in job["targets"] if each["name"] != name]
        result["error"] = _error(verdict, kind, places.client, name, others)
    tell({"verified": result})
    return result


def _error(verdict: verifying.Verdict, kind: str, client: str, target: str, others: Sequence[str]) -> Dict[str, Any]:
    if not verdict.conclusive:
        return dict(failure(kind or "other", verdict.error, client, target), details=[])
    message, lines = verifying.words(verdict, client, target, others)
    return {"kind": "damaged", "message": message, "remedy": "\n  ".join(lines), "details": lines}


def _print(record: Dict[str, Any]) -> None:
    """The journal of systemd keeps it."""
    if "verified" in record:
        found = record["verified"]
        said = (found["error"] or {}).get("message") or "is whole"
        sys.stdout.write("{}, part {} of {}: {}\n".format(found["target"], found["part"], found["of"], said))
        sys.stdout.flush()
