"""The archive before a deploy: what an operator goes back to when a release has spoilt its data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.errors import LockedError, OtobotError, StepFailedError
from otobotctl.workflows import archives

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet

KEPT = 5  # as many as releases are kept on a host


def before_deploy(fleet: Fleet, slug: str, listener: Listener, password: Password | None = None) -> str:
    """Make an archive of a client as it runs now, beside its secrets in the fleet; return its path.

    Older ones go, all but the last `KEPT`.

    Raises:
        StepFailedError: it could not be made; nothing was deployed.
    """
    fleet.prepare_archives(slug)
    folder = fleet.archives(slug) / "before-deploy"
    folder.mkdir(mode=0o700, exist_ok=True)
    try:
        made = archives.export(fleet, slug, folder, (), listener, password)
    except LockedError:
        raise
    except OtobotError as error:
        raise StepFailedError(
            f"{slug}: no archive could be made before the deploy: {error.message}",
            hint="put that right; or deploy without one: add --no-backup",
            details=error.details,
        ) from error
    for old in sorted(folder.glob("*.zip.age"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return made.file
