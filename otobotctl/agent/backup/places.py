"""Where a client's backup keeps things on a host, and the job that says what is wanted of it."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence

from otobotctl.agent import files
from otobotctl.agent.backup.shapes import HOME, JOB_VERSION, STATE, Job, Target
from otobotctl.agent.lines import decode
from otobotctl.agent.places import Places
from otobotctl.agent.protocol import RUNTIME_DIR
from otobotctl.agent.wire import RefusedError


class JobError(Exception):
    """There is no job, or it cannot be read; the text is for the operator and holds no secret."""


class BackupPlaces:
    """One client's files: `home` has secrets, `state` and `runtime` have none."""

    def __init__(self, client: str, home: str = HOME, state: str = STATE, runtime: str = RUNTIME_DIR) -> None:
        self.client = client
        self.home = os.path.join(home, client)
        self.state = os.path.join(state, client)
        self.runtime = runtime

    @classmethod
    def on(cls, places: Places, client: str) -> "BackupPlaces":
        """A client's files beside what this host's agent keeps."""
        return cls(client, HOME, os.path.join(places.state, "backup"), places.runtime)

    @property
    def job(self) -> str:
        """What is wanted: a Job."""
        return os.path.join(self.home, "job.json")

    @property
    def key(self) -> str:
        """The repository's password."""
        return os.path.join(self.home, "key")

    @property
    def sealed(self) -> str:
        """The client's sealed secrets, as the last deploy brought them."""
        return os.path.join(self.home, "secrets.age")

    @property
    def note(self) -> str:
        """What became of archives, checks and drills: see state.py."""
        return os.path.join(self.state, "state.json")

    @property
    def stopped(self) -> str:
        """The containers that a run has stopped and not yet started again."""
        return os.path.join(self.state, "stopped.json")

    @property
    def restoring(self) -> str:
        """What a restore has done and not yet undone; there only while one is under way, or was killed."""
        return os.path.join(self.state, "restore.json")

    @property
    def lock(self) -> str:
        """The file whose flock a run of this client holds."""
        return os.path.join(self.runtime, "backup-{}.lock".format(self.client))

    def cache(self, repository: str) -> str:
        """Where restic caches what it knows of a repository; "" for one on this machine's own disk."""
        return "" if repository.startswith(("/", "local:")) else os.path.join(self.state, "cache")

    def prepare(self) -> None:
        """Make the directories. Raises OSError."""
        for path in (self.runtime, self.state):
            os.makedirs(path, mode=0o700, exist_ok=True)


def clients(home: str = HOME) -> List[str]:
    """The clients of this host that have a job."""
    try:
        names = sorted(os.listdir(home))
    except OSError:
        return []
    return [name for name in names if os.path.isfile(os.path.join(home, name, "job.json"))]


def read_job(places: BackupPlaces) -> Job:
    """The client's job. Raises JobError."""
    again = "otobotctl client deploy {}".format(places.client)
    try:
        found: Dict[str, Any] = decode(files.read(places.job) or b"")
    except FileNotFoundError:
        raise JobError(
            "{} has no backup on this host; give it a target, then {}".format(places.client, again)
        ) from None
    except (OSError, ValueError) as error:
        raise JobError("{} cannot be read ({}); {}".format(places.job, error, again)) from error
    if not isinstance(found, dict) or found.get("version") != JOB_VERSION:
        raise JobError("{} is of another version of otobotctl; {}".format(places.job, again))
    job: Job = found  # type: ignore[assignment]
    return job


def target(job: Job, name: str = "") -> Target:
    """The target of this name; without one the first. Raises RefusedError: the job has none such."""
    for each in job["targets"]:
        if name in ("", each["name"]):
            return each
    known = ", ".join(each["name"] for each in job["targets"]) or "none"
    raise RefusedError("refused", "{} has no target {}; it has {}".format(job["client"], name, known))


def targets(job: Job, names: Sequence[str]) -> List[Target]:
    """The targets of these names as the job orders them; without names all. Raises RefusedError: no such target."""
    wanted = [target(job, name)["name"] for name in names]
    return [each for each in job["targets"] if not names or each["name"] in wanted]
