"""`init`: a new fleet, and what runs it in a CI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from otobotctl import atomic, data, fleet
from otobotctl.errors import ManifestError

# Where each of them reads its jobs from.
CI = {"github": ".github/workflows/otobotctl.yml", "gitlab": ".gitlab-ci.yml"}


@dataclass(frozen=True)
class Jobs:
    """A CI's jobs in a fleet; `new`: they were not there."""

    file: str
    new: bool


def init(directory: Path) -> fleet.Initialised:
    """Make a fleet in `directory`; whatever is there already is kept."""
    import json

    from otobotctl.workflows.manifest import schema

    return fleet.init_fleet(directory, schema=json.dumps(schema(), indent=2, ensure_ascii=False) + "\n")


def add_ci(directory: Path, name: str) -> Jobs:
    """Write the jobs of a CI (a key of CI) into a fleet; what is there already is kept. Raises ManifestError."""
    path = directory.expanduser().resolve() / CI[name]
    if path.exists():
        return Jobs(str(path), new=False)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(path, (data.data_dir("templates") / "ci" / f"{name}.yml").read_bytes())
    except OSError as error:
        raise ManifestError(f"cannot write {path}: {error.strerror}", hint="make it writable") from error
    return Jobs(str(path), new=True)
