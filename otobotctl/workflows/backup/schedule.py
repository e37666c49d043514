"""`backup schedule`: what is planned for a client's archives, and whether its repositories are ready for them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl.errors import OtobotError, StepFailedError, UsageError
from otobotctl.manifest import backups as words
from otobotctl.workflows.backup.asking import ask
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet
    from otobotctl.manifest import ResolvedClient


@dataclass(frozen=True)
class PlannedTarget:
    """One target. `state`: ready, made (by this call), never made, failed, or not deployed; `error` says why it failed.

    `secrets` are the names of its credentials.
    """

    target: str
    repository: str
    append_only: bool
    secrets: tuple[str, ...]
    state: str
    error: Mapping[str, str] | None = None


@dataclass(frozen=True)
class Schedule:
    """What is planned. `next` has run, verify and drill in ISO 8601, None for what no timer starts.

    `public_key` is what has to be placed at SFTP storages, "" where there are none. `keep` is how many archives stay.
    `todo` is what somebody has to do before archives are made, "" for nothing.
    """

    client: str
    host: str
    schedule: str
    deployed: bool
    next: Mapping[str, str | None]
    keep: Mapping[str, int]
    rpo_h: int
    rto_min: int
    drill_days: int
    targets: tuple[PlannedTarget, ...]
    public_key: str
    todo: str = ""


def schedule(
    fleet: Fleet, slug: str, password: Password | None = None, *, init: bool = False
) -> tuple[Schedule, OtobotError | None]:
    """What is planned for a client, by one execution; with `init`, repositories that were never made are made.

    The error, of `init` alone, is what kept repositories from being made.

    Raises:
        UsageError: the client has no targets.
    """
    loaded = load(fleet)
    client = loaded.manifest.client(slug)
    if not client.backup.targets:
        example = '"backup": {"targets": {"nas": {"repository": "sftp:backup@nas.example:/srv/{client}", ...}}}'
        raise UsageError(f"{slug} has no backup targets", hint=f"write {example} in the manifest; see docs/backups.md")
    told: dict[str, Mapping[str, Any]] = {}
    planned: Mapping[str, Any] = {}
    for record in ask(loaded, client.host, [slug], "init" if init else "schedule", password):
        if "repository" in record:
            told[record["repository"]["target"]] = record["repository"]
        planned = record.get("planned", planned)
    found = _schedule(client, planned, told)
    found = replace(found, todo=_remedy(found))
    return found, _failure(found) if init else None


def _schedule(client: ResolvedClient, planned: Mapping[str, Any], told: Mapping[str, Mapping[str, Any]]) -> Schedule:
    from otobotctl.render.backups import credentials

    said = client.backup
    targets = []
    for name, target in said.targets.items():
        state, error = _state(told.get(name))
        secrets = tuple(credentials(name, target).values())
        targets.append(PlannedTarget(name, target.repository, target.append_only, secrets, state, error))
    sftp = any(words.scheme(target.repository) == "sftp" for target in said.targets.values())
    return Schedule(
        client.slug,
        client.host,
        said.schedule,
        bool(planned.get("deployed")),
        {word: _iso(at) for word, at in planned.get("next", {}).items()},
        said.keep,
        said.rpo_h,
        said.rto_min,
        said.drill_days,
        tuple(targets),
        str(planned.get("public_key", "")) if sftp else "",
    )


def _state(told: Mapping[str, Any] | None) -> tuple[str, Mapping[str, str] | None]:
    if told is None:
        return "not deployed", None
    if told["ready"]:
        return "made" if told["made"] else "ready", None
    return ("never made", None) if told.get("never") else ("failed", told["error"])


def _remedy(found: Schedule) -> str:
    """What somebody has to do before archives are made; "" for nothing."""
    if any(each.state == "not deployed" for each in found.targets):
        return f"otobotctl deploy {found.client}"
    failed = [each for each in found.targets if each.error is not None]
    if failed:
        remedy = (failed[0].error or {})["remedy"]
        if words.scheme(failed[0].repository) == "sftp" and found.public_key:
            return f"place the public key at {failed[0].target}, if that has not been done; else {remedy}"
        return remedy
    if any(each.state == "never made" for each in found.targets):
        return f"otobotctl backup schedule {found.client} --init"
    return ""


def _failure(found: Schedule) -> StepFailedError | None:
    """What kept repositories from being made."""
    missing = [each.target for each in found.targets if each.state == "not deployed"]
    lines = [f"{each.target}: {(each.error or {})['message']}" for each in found.targets if each.error is not None]
    if missing:
        return StepFailedError(f"{found.host} does not know {', '.join(missing)} of {found.client}", hint=found.todo)
    if lines:
        count = f"{len(lines)} of {len(found.targets)}"
        return StepFailedError(f"{count} repositories cannot be used", hint=found.todo, details=lines)
    return None


def _iso(at: float | None) -> str | None:
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"
