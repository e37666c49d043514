"""Every quarter of an hour: who was erased since, as ids, into each repository, so that it outlives the host.

Each archive has the erasures of its time. What was erased between the last archive and a disaster would come back
with that archive; so the list is saved by itself whenever it has grown. One look at the database, where it has not.
"""

from __future__ import annotations

import hashlib
import os
import socket
import sys
from typing import Callable, Dict, List, Sequence

from otobotctl.agent import files
from otobotctl.agent.backup import erasures
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job
from otobotctl.agent.backup.postgres import Postgres
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.shapes import Job
from otobotctl.agent.dumps import Project
from otobotctl.agent.lines import canonical, decode
from otobotctl.agent.releases import Releases

FILE, TAG = "/erasures.tsv", "erasures"
_SAVED = "erasures.json"  # by target, the digest of what it has


def main(client: str) -> int:
    """Save the list where it has grown; return the exit status."""
    try:
        save(BackupPlaces(client), lambda text: print(text, flush=True))
    except (JobError, RestoreError, ResticError, OSError) as error:
        sys.stderr.write("{}\n".format(error))
        return 1
    return 0


def save(places: BackupPlaces, say: Callable[[str], None]) -> None:
    """Save the list on each target that lacks it. Raises ResticError of the last that failed, and RestoreError."""
    job = read_job(places)
    text = _list(job, Hands(Project(job["project"], Releases(places.client).link), say))
    if not text:
        return
    places.prepare()
    digest, saved = hashlib.sha256(text).hexdigest(), _saved(places)
    trouble = None
    for target in job["targets"]:
        if saved.get(target["name"]) == digest:
            continue
        try:
            restic = Restic.of(places, target)
            restic.put(text, FILE, [TAG], socket.gethostname())
        except ResticError as error:
            trouble = error
            continue
        saved[target["name"]] = digest
        _write(places, _SAVED, canonical(saved).encode())
        say("{}: {} erasures are known there".format(target["name"], text.count(b"\n")))
    if trouble:
        raise trouble


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


def _saved(places: BackupPlaces) -> Dict[str, str]:
    try:
        return dict(decode(files.read(os.path.join(places.state, _SAVED)) or b"{}"))
    except (OSError, ValueError):
        return {}


def _write(places: BackupPlaces, name: str, data: bytes) -> None:
    user, group = files.me()
    files.write(os.path.join(places.state, name), data, 0o600, user, group)
