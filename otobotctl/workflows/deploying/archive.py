"""The archive before a deploy or a rotation: what an operator goes back to when that has spoilt data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.errors import LockedError, OtobotError, StepFailedError
from otobotctl.workflows import archives
from otobotctl.workflows.backup.runs import Wish, on_host, target_failed
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded

KEPT = 5  # as many as releases are kept on a host
_PATIENCE_S = 1800.0  # a scheduled run that is under way ends first


def before_deploy(
    fleet: Fleet, slug: str, listener: Listener, password: Password | None = None, *, what: str = "deploy"
) -> str:
    """Make an archive of a client as it runs now; return where it is: "ID on TARGET", or a file in the fleet.

    The host makes it on the client's targets. One that takes it is enough; what failed on the others is told. A client
    that has no target on its host yet, or none that takes it, gets one streamed into the fleet beside its secrets:
    older ones of those go, all but the last `KEPT`. `what` is to come, in a message's words.

    Raises:
        StepFailedError: it could not be made at all; nothing was changed.
        LockedError: another run of the client's backup did not end in time.
    """
    made = _on_targets(load(fleet), slug, what, listener, password)
    return made or _streamed(fleet, slug, listener, password, what)


def _on_targets(loaded: Loaded, slug: str, reason: str, listener: Listener, password: Password | None) -> str:
    """Have the host make one; return where it is, "" where no target took it."""
    client = loaded.manifest.client(slug)
    if not client.backup.targets:
        return ""
    wish = Wish(reason=reason, patience_s=_PATIENCE_S)
    try:
        done = on_host(loaded, client.host, [slug], wish, listener, password)
    except StepFailedError as error:  # targets are in the manifest, and this deploy is what brings them to the host
        _warn(listener, f"{slug}: {error.message}")
        return ""
    for each in done.made:
        if each.error is not None:
            failed = target_failed(each)
            _warn(listener, f"{failed.message}; {failed.hint}")
    return ", ".join(f"{each.archive['id']} on {each.target}" for each in done.made if each.archive and not each.error)


def _warn(listener: Listener, text: str) -> None:
    listener.event({"event": "output", "text": f"warning: {text}"})


def _streamed(fleet: Fleet, slug: str, listener: Listener, password: Password | None, what: str) -> str:
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
