"""`rollback`: a client's earlier release made current again, with the same health gates as a deploy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.errors import UsageError
from otobotctl.plan.model import Stage, Step
from otobotctl.render.client import services_of
from otobotctl.workflows import secrets
from otobotctl.workflows.converging import converge, opener
from otobotctl.workflows.deploying import releases
from otobotctl.workflows.desired import Desired, load, masked

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.plan.model import Change
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class Way:
    """What a rollback would do: from release `before` (None: none was current) to release `to`."""

    client: str
    host: str
    before: int | None
    to: int
    changes: tuple[Change, ...]
    stays: tuple[str, ...]


@dataclass(frozen=True)
class RolledBack:
    """A rollback that was made; `stays` is what it did not undo."""

    client: str
    host: str
    before: int | None
    release: int
    changes: tuple[Change, ...]
    stays: tuple[str, ...]
    executions: int
    took_s: float


def way(fleet: Fleet, slug: str, to: int | None, password: Password | None = None) -> Way:
    """Look what a rollback to release `to` (default: the one before the current one) would do; nothing is changed.

    Raises:
        UsageError: there is no such release on the host, or it never was healthy.
    """
    return _way(load(fleet), slug, to, password)


def rollback(
    fleet: Fleet, planned: Way, listener: Listener, password: Password | None = None, *, force: bool = False
) -> RolledBack:
    """Go back. A release that does not become healthy is undone in its turn (TakenBackError).

    Raises:
        ManifestError: a service that holds data would go back to an older version, and `force` is not given.
    """
    return back(load(fleet), planned, listener, password, force=force)


def back(
    loaded: Loaded, planned: Way, listener: Listener, password: Password | None = None, *, force: bool = False
) -> RolledBack:
    """Go back in a fleet that is read already; as `rollback`."""
    slug = planned.client
    stages = (Stage("rollback", (Step(f"rollback/{slug}", _spec(loaded, slug, planned.to, force=force)),)),)
    wanted = Desired(planned.host, stages, masked([secrets.opened(loaded, slug)]))
    done = converge(opener(loaded, planned.host), wanted, listener, password)
    return RolledBack(
        slug, planned.host, planned.before, planned.to, planned.changes, planned.stays, done.executions + 1, done.took_s
    )


def _way(loaded: Loaded, slug: str, to: int | None, password: Password | None) -> Way:
    host = loaded.manifest.client(slug).host
    known = releases.facts(loaded, slug, password)
    number = chosen(slug, known, to)
    changes = _spec(loaded, slug, number, force=False).compare(known)
    return Way(slug, host, known["current"], number, changes, stays(slug, known, number))


def _spec(loaded: Loaded, slug: str, to: int, *, force: bool) -> Any:
    client = loaded.manifest.client(slug)
    services = services_of(client, loaded.manifest.host(client.host), loaded.catalog)
    stateful = tuple(service.name for service in services if service.engine or service.databases)
    return releases.spec(slug, to=to, stateful=stateful, allow_downgrade=force)


def chosen(slug: str, known: Mapping[str, Any], to: int | None) -> int:
    """Return the number of the release to go back to. Raises UsageError: there is none. Pure."""
    ran = [each["number"] for each in known["releases"] if each["ran_at"] is not None]
    hint = f"otobotctl releases {slug}"
    if to is not None:
        if to not in [each["number"] for each in known["releases"]]:
            raise UsageError(f"{slug} has no release {to} on its host", hint=hint)
        if to not in ran:
            raise UsageError(f"release {to} of {slug} never was healthy", hint=hint)
        return to
    current = known["current"]
    earlier: list[int] = [number for number in ran if current is None or number < current]
    if not earlier:
        raise UsageError(f"{slug} has no release before {current or 'this'} to go back to", hint=hint)
    return max(earlier)


def stays(slug: str, known: Mapping[str, Any], to: int) -> tuple[str, ...]:
    """Say what a rollback to release `to` does not undo. Pure."""
    current = known["current"]
    return (
        "data that was written since, and migrations of databases, stay as they are",
        f"release {to} has the secrets of its time: one that was rotated since keeps it from becoming healthy",
        f"the fleet says what release {current} says: change it back, or the next deploy of {slug} brings that again",
    )
