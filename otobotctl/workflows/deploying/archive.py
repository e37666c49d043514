"""The archive before a deploy or a rotation: what an operator goes back to when that has spoilt data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.errors import LockedError, OtobotError, StepFailedError
from otobotctl.workflows import archives

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded

KEPT = 5  # as many as releases are kept on a host


def before_deploy(
    fleet: Fleet, slug: str, listener: Listener, password: Password | None = None, *, what: str = "deploy"
) -> str:
    """Make an archive of a client as it runs now, beside its secrets in the fleet; return its path.

    Older ones go, all but the last `KEPT`. `what` is to come, in a message's words.

    Raises:
        StepFailedError: it could not be made; nothing was changed.
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
            f"{slug}: no archive could be made before the {what}: {error.message}",
            hint="put that right; or go on without one: add --no-backup",
            details=error.details,
        ) from error
    for old in sorted(folder.glob("*.zip.age"))[:-KEPT]:
        old.unlink(missing_ok=True)
    return made.file


def before_rotation(loaded: Loaded, slug: str, listener: Listener, password: Password | None = None) -> str | None:
    """Make one where the client's environment wants one before its deploys and something runs already.

    A rotation deploys several times; what it could spoil is as it was before the first of them.

    Raises:
        StepFailedError: it could not be made; nothing was changed.
    """
    from otobotctl.workflows.deploying import releases

    if not loaded.manifest.client(slug).backup.before_deploy:
        return None
    if releases.facts(loaded, slug, password)["current"] is None:
        return None
    return before_deploy(loaded.fleet, slug, listener, password, what="rotation")
