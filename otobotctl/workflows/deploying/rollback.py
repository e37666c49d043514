"""`rollback`: a client's earlier release made current again, with the same health gates as a deploy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl import secrets as sealed
from otobotctl.errors import UsageError
from otobotctl.plan.model import Stage, Step
from otobotctl.render.client import services_of
from otobotctl.workflows import secrets
from otobotctl.workflows.converging import converge, opener
from otobotctl.workflows.deploying import releases
from otobotctl.workflows.deploying.former import NONE, Former, former
from otobotctl.workflows.desired import Desired, load, masked

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.plan.model import Change
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class Way:
    """What a rollback would do: from release `before` (None: none was current) to release `to`.

    `secrets` are those whose former values that one has.
    """

    client: str
    host: str
    before: int | None
    to: int
    changes: tuple[Change, ...]
    stays: tuple[str, ...]
    secrets: Former = NONE


@dataclass(frozen=True)
class RolledBack:
    """A rollback that was made; `stays` is what it did not undo, `secrets` those whose former values are back."""

    client: str
    host: str
    before: int | None
    release: int
    changes: tuple[Change, ...]
    stays: tuple[str, ...]
    executions: int
    took_s: float
    secrets: tuple[str, ...] = ()


def way(fleet: Fleet, slug: str, to: int | None, password: Password | None = None) -> Way:
    """Look what a rollback to release `to` (default: the one before the current one) would do; nothing is changed.

    Raises:
        UsageError: there is no such release on the host, or it never was healthy.
    """
    return _way(load(fleet), slug, to, password)


def check(planned: Way, *, old_secrets: bool) -> None:
    """Refuse to bring former values of secrets back, unless `old_secrets` says so. Pure.

    Raises:
        UsageError: with the way that keeps today's.
    """
    found, slug = planned.secrets, planned.client
    back_then = "to run what it ran with today's secrets, put clients-config.json back as it was"
    today = f"{back_then}, then: otobotctl deploy {slug}"
    if not planned.changes:
        return
    if found.lost:
        message = f"release {planned.to} of {slug} has a former {', '.join(found.lost)}, which opens nothing any more"
        raise UsageError(message, hint=today)
    if found.names and not old_secrets:
        raise UsageError(
            f"release {planned.to} of {slug} is from before a rotation: it {_brings(found)}",
            hint=f"{today}; to have the former values meanwhile: "
            f"otobotctl rollback {slug} --to {planned.to} --old-secrets",
        )


def rollback(
    fleet: Fleet,
    planned: Way,
    listener: Listener,
    password: Password | None = None,
    *,
    force: bool = False,
    old_secrets: bool = False,
) -> RolledBack:
    """Go back. A release that does not become healthy is undone in its turn (TakenBackError).

    Raises:
        ManifestError: a service that holds data would go back to an older version, and `force` is not given.
        UsageError: former values of secrets would come back, and `old_secrets` is not given.
    """
    check(planned, old_secrets=old_secrets)
    return back(load(fleet), planned, listener, password, force=force)


def back(
    loaded: Loaded, planned: Way, listener: Listener, password: Password | None = None, *, force: bool = False
) -> RolledBack:
    """Go back in a fleet that is read already; as `rollback`."""
    slug = planned.client
    stages = (Stage("rollback", (Step(f"rollback/{slug}", _spec(loaded, slug, planned.to, force=force)),)),)
    wanted = Desired(planned.host, stages, masked([secrets.opened(loaded, slug)]))
    done = converge(opener(loaded, planned.host), wanted, listener, password)
    about = (slug, planned.host, planned.before, planned.to, planned.changes, planned.stays)
    back_again = planned.secrets.names if planned.changes else ()
    return RolledBack(*about, done.executions + 1, done.took_s, back_again)


def _way(loaded: Loaded, slug: str, to: int | None, password: Password | None) -> Way:
    host = loaded.manifest.client(slug).host
    known = releases.facts(loaded, slug, password)
    number = chosen(slug, known, to)
    changes = _spec(loaded, slug, number, force=False).compare(known)
    release = next(each for each in known["releases"] if each["number"] == number)
    specs = loaded.catalog.secret_specs(loaded.manifest.client(slug).services)
    rings = [spec.name for spec in specs if spec.rotation == "key-ring"]
    found = former(release, sealed.read_metadata(loaded.fleet.client(slug)), rings)
    before = known["healthy"] if resumed(known) == number else known["current"]
    return Way(slug, host, before, number, changes, stays(slug, before, number, found), found)


def _spec(loaded: Loaded, slug: str, to: int, *, force: bool) -> Any:
    client = loaded.manifest.client(slug)
    services = services_of(client, loaded.manifest.host(client.host), loaded.catalog)
    stateful = tuple(service.name for service in services if service.engine or service.databases)
    return releases.spec(slug, to=to, stateful=stateful, allow_downgrade=force)


def chosen(slug: str, known: Mapping[str, Any], to: int | None) -> int:
    """Return the number of the release to go back to; by default where a rollback that was cut off was going.

    Raises:
        UsageError: there is none. Pure.
    """
    ran = [each["number"] for each in known["releases"] if each["ran_at"] is not None]
    hint = f"otobotctl releases {slug}"
    if to is not None:
        if to not in [each["number"] for each in known["releases"]]:
            raise UsageError(f"{slug} has no release {to} on its host", hint=hint)
        if to not in ran:
            raise UsageError(f"release {to} of {slug} never was healthy", hint=hint)
        return to
    if (cut := resumed(known)) is not None:
        return cut
    current = known["current"]
    earlier: list[int] = [number for number in ran if current is None or number < current]
    if not earlier:
        raise UsageError(f"{slug} has no release before {current or 'this'} to go back to", hint=hint)
    return max(earlier)


def resumed(known: Mapping[str, Any]) -> int | None:
    """The release that a rollback was on its way to when it was cut off; None: none was. Pure.

    It is current already, and the newer one was the last that was healthy: the one before it is not what was asked for.
    """
    current, healthy = known["current"], known["healthy"]
    if known["settled"] or current is None or healthy is None or current >= healthy:
        return None
    return int(current)


def stays(slug: str, before: int | None, to: int, found: Former) -> tuple[str, ...]:
    """Say what a rollback from release `before` to release `to` does not undo. Pure."""
    brought = f"the sealed store keeps today's secrets, but release {to} {_brings(found)}"
    return (
        "data that was written since, and migrations of databases, stay as they are",
        *((f"{brought}; today's are valid again after: otobotctl deploy {slug}",) if found.names else ()),
        f"the fleet says what release {before} says: change it back, or the next deploy of {slug} brings that again",
    )


def _brings(found: Former) -> str:
    perhaps = "may bring back" if found.guessed else "brings back"
    return f"{perhaps} the former values of {', '.join(found.names)}"
