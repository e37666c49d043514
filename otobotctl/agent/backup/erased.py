"""Every quarter of an hour: who was erased since, as ids, into each repository, so that it outlives the host.

Each archive has the erasures of its time. What was erased between the last archive and a disaster would come back
with that archive; so the list is saved by itself whenever it has grown. One look at the database, where it has not.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import sys
import time
from typing import Any, Callable, Dict, List, Optional, Sequence

from otobotctl.agent import files
from otobotctl.agent.backup import erasures, reports
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job
from otobotctl.agent.backup.postgres import Postgres
from otobotctl.agent.backup.remedies import failure
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.shapes import Job, Target
from otobotctl.agent.dumps import Project
from otobotctl.agent.lines import canonical, decode
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import StepError

FILE, TAG = "/erasures.tsv", "erasures"
_SAVED = "erasures.json"  # by target, the digest of what it has
_FAILING = "erasures-failing.json"  # by target that lacks it, since when, and whether somebody was told
# A deploy, or a line that is gone for a while, is nobody's concern: the next quarter of an hour has it.
_LATE_S = 3600.0

Result = Dict[str, Any]  # as a run's: target, and error, which is None or has kind, message and remedy


def main(client: str) -> int:
    """Save the list where it has grown, tell of what has failed for an hour; return the exit status."""
    places = BackupPlaces(client)
    try:
        job = read_job(places)
    except JobError as error:
        sys.stderr.write("{}\n".format(error))
        return 1
    results = save(places, job, lambda text: print(text, flush=True))
    failed = [each for each in results if each["error"]]
    said = ["{}: {}".format(each["target"], each["error"]["message"]) for each in failed]
    for line in [*said, *tell(places, job, results, time.time())]:
        sys.stderr.write(line + "\n")
    return 1 if failed else 0


def save(places: BackupPlaces, job: Job, say: Callable[[str], None]) -> List[Result]:
    """Save the list on each target that lacks it; return what came of it, target by target."""
    try:
        text = _list(job, Hands(Project(job["project"], Releases(places.client).link), say))
        places.prepare()
    except (RestoreError, OSError) as error:
        why = "who was erased cannot be read: {}".format(error)
        return [_result(each["name"], failure("part", why, job["client"], each["name"])) for each in job["targets"]]
    digest = hashlib.sha256(text).hexdigest()
    return [_saved_on(places, job, target, text, digest, say) for target in job["targets"]]


def _saved_on(
    places: BackupPlaces, job: Job, target: Target, text: bytes, digest: str, say: Callable[[str], None]
) -> Result:
    name, saved = target["name"], _noted(places, _SAVED)
    if not text or saved.get(name) == digest:
        return _result(name)
    try:
        Restic.of(places, target).put(text, FILE, [TAG], socket.gethostname())
        _write(places, _SAVED, {**saved, name: digest})
    except ResticError as error:
        return _result(name, failure(error.kind, str(error), job["client"], name))
    except (OSError, StepError) as error:
        return _result(name, failure("other", str(error), job["client"], name))
    say("{}: {} erasures are known there".format(name, text.count(b"\n")))
    return _result(name)


def tell(places: BackupPlaces, job: Job, results: Sequence[Result], now: float) -> List[str]:
    """Report a target that has lacked the list for an hour, once, and that it has it again.

    Return what could not be told.
    """
    before, failing, found = _noted(places, _FAILING), {}, []
    for each in results:
        known = before.get(each["target"]) or {"since": now, "told": False}
        late = bool(each["error"]) and now - known["since"] >= _LATE_S
        if each["error"]:
            failing[each["target"]] = dict(known, told=late)
        found.append(reports.Late(each["target"], each["error"], late, known["told"]))
    problems = reports.turned(job, "erasures", found)
    if failing != before:
        with contextlib.suppress(OSError, StepError):
            _write(places, _FAILING, failing)
    return problems


def known(repositories: Sequence[Restic], say: Callable[[str], None]) -> List[erasures.Erased]:
    """Who was erased, as each repository has it."""
    found: List[erasures.Erased] = []
    for restic in repositories:
        try:
            listed = restic.snapshots("--tag", TAG)
            if listed:
                newest = max(listed, key=lambda each: str(each["time"]))
                found += erasures.parse(restic.read(newest["id"], FILE))
        except ResticError as error:
            say("WARNING: {} cannot be asked for erasures: {}".format(restic.name, error))
    return found


def _list(job: Job, hands: Hands) -> bytes:
    found: List[erasures.Erased] = []
    for source in job["sources"]:
        if source["kind"] == "postgres":
            found += erasures.read(Postgres(hands, source["service"]), source["name"])
    return "".join("{}\t{}\t{}\n".format(*each) for each in sorted(set(found))).encode()


def _result(target: str, error: Optional[Dict[str, str]] = None) -> Result:
    return {"target": target, "error": error}


def _noted(places: BackupPlaces, name: str) -> Dict[str, Any]:
    try:
        return dict(decode(files.read(os.path.join(places.state, name)) or b"{}"))
    except (OSError, ValueError, TypeError):
        return {}


def _write(places: BackupPlaces, name: str, noted: Dict[str, Any]) -> None:
    user, group = files.me()
    files.write(os.path.join(places.state, name), canonical(noted).encode(), 0o600, user, group)
