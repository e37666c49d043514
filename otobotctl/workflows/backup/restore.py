"""`backup restore`: an archive in the place of a client's data, on its host or on a blank one."""

from __future__ import annotations

import secrets as randomness
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from otobotctl import manifest
from otobotctl.errors import OtobotError, StepFailedError, TakenBackError, UsageError
from otobotctl.plan.kinds.restore import Proof, RestoreSpec
from otobotctl.plan.model import Stage, Step
from otobotctl.render.client import services_of
from otobotctl.workflows import converging, secrets
from otobotctl.workflows.converging import converge, desired_of
from otobotctl.workflows.deploying.deploy import Choices, deploy
from otobotctl.workflows.desired import Desired, load, masked

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded

LATEST = "latest"
_ID_LENGTH = 16  # of its time, such as 20261121T020003Z


@dataclass(frozen=True)
class Asked:
    """What an operator wants back, one part at most; `at` is an archive's id, a time, "latest" or "": the newest."""

    at: str = ""
    target: str = ""
    service: str = ""
    database: str = ""
    table: str = ""
    user: str = ""
    replace: bool = False
    safety: bool = True
    to: str = ""


@dataclass(frozen=True)
class Restored:
    """What was restored. `lost_s`: how old the archive was; `took_s`: from the first step to healthy and proved.

    `rows` are those of each database's tables, counted and equal to the archive's. `safety` is the archive of what was
    there before. `erased`: people who were erased since, and are again. `moved_from`: the client's former host.
    """

    client: str
    host: str
    archive: str
    target: str
    made: str
    lost_s: float
    took_s: float
    what: tuple[str, ...]
    rows: Mapping[str, Mapping[str, int]]
    safety: str
    erased: int
    proofs: tuple[Mapping[str, str], ...]
    executions: int
    moved_from: str = ""
    warnings: tuple[str, ...] = field(default=())


def restore(fleet: Fleet, slug: str, asked: Asked, listener: Listener, password: Password | None = None) -> Restored:
    """Restore what is asked for; with `to`, after deploying the client there.

    Raises:
        UsageError: what is asked for contradicts itself.
        StepFailedError: it failed, and nothing was changed.
        TakenBackError: it failed, and the former data is up and healthy again.
    """
    _check(asked)
    begun, loaded = time.time(), load(fleet)
    before, pitr = loaded.manifest.client(slug).host, loaded.manifest.client(slug).backup.pitr
    if asked.at == LATEST and not pitr:
        raise UsageError(f"{slug} has no point-in-time recovery", hint="leave --at out for the newest archive")
    if asked.to:
        loaded = _moved(loaded, slug, asked.to, listener, password)
        # What the fresh host archives of itself meanwhile is not what anybody wants back.
        asked = replace(asked, safety=False, at=asked.at or (LATEST if pitr else _told(begun)))
    spec = _spec(loaded, slug, asked, begun)
    host = loaded.manifest.client(slug).host
    wanted = Desired(
        host, (Stage("restore", (Step(f"restore/{slug}", spec),)),), masked([secrets.opened(loaded, slug)])
    )
    heard = _Heard(listener)
    try:
        done = converge(converging.opener(loaded, host), wanted, heard, password)
    except StepFailedError as error:
        raise _explained(error, slug) from error
    said = _restored(slug, host, heard.restored, done.executions, before if before != host else "")
    return said if asked.table or asked.user else _prepared(loaded, said, listener, password)


def _prepared(loaded: Loaded, done: Restored, listener: Listener, password: Password | None) -> Restored:
    """Let services prepare what they keep in their own data, such as a token that was exchanged since the archive.

    The restore is done, whatever comes of this: it is told as a warning.
    """
    wanted = desired_of(loaded, done.host)
    steps = tuple(
        step
        for stage in wanted.stages
        for step in stage.steps
        if step.spec.kind == "provision" and getattr(step.spec, "client", None) == done.client
    )
    if not steps:
        return done
    wanted = replace(wanted, stages=(Stage("provision", steps),))
    try:
        more = converge(converging.opener(loaded, done.host), wanted, listener, password).executions
    except OtobotError as error:
        warning = f"restored, but not prepared: {error.message}; otobotctl deploy {done.client} does it again"
        return replace(done, warnings=(*done.warnings, warning))
    return replace(done, executions=done.executions + more)


def _check(asked: Asked) -> None:
    parts = [name for name in ("service", "database", "user") if getattr(asked, name)]
    if asked.table and asked.database:
        parts.remove("database")
    parts += ["table"] if asked.table else []
    if len(parts) > 1:
        raise UsageError(f"--{parts[0]} and --{parts[1]} contradict each other", hint="give one of the two")
    if asked.replace and not asked.table:
        raise UsageError("--replace is for --table", hint="add --table SCHEMA.TABLE, or leave it out")
    if asked.to and parts:
        raise UsageError(f"--to restores everything; --{parts[0]} does not", hint="leave one of the two out")


def _moved(loaded: Loaded, slug: str, host: str, listener: Listener, password: Password | None) -> Loaded:
    """The fleet with the client on `host`, where it has been deployed."""
    manifest.move_client(loaded.fleet.manifest, slug, host, loaded.catalog.service_shapes())
    loaded = load(loaded.fleet)
    deploy(loaded, slug, Choices(backup=False, smoke=False), listener, password)
    return load(loaded.fleet)


def _spec(loaded: Loaded, slug: str, asked: Asked, begun: float) -> RestoreSpec:
    client = loaded.manifest.client(slug)
    services = services_of(client, loaded.manifest.host(client.host), loaded.catalog)
    if asked.service and asked.service not in [service.name for service in services if service.backup]:
        known = ", ".join(service.name for service in services if service.backup)
        raise UsageError(f"{slug} has no archived service {asked.service}", hint=f"one of: {known}")
    moment: Literal["", "exact", "latest"] = ""
    if client.backup.pitr and not (asked.service or asked.database or asked.table or asked.user):
        moment = "latest" if asked.at == LATEST else "exact"
    # Of what a fresh host has of itself since this began nobody wants anything back.
    latest = begun if asked.to else None
    ident, until = ("", latest) if asked.at == LATEST else point(asked.at)
    moment = "" if ident or (until is None and moment == "exact") else moment
    return RestoreSpec(
        client=slug,
        run=f"restore-{slug}-{randomness.token_hex(4)}",
        since=begun,
        id=ident,
        until=until,
        moment=moment,
        target=asked.target,
        service=asked.service,
        database=asked.database,
        table=asked.table,
        user=asked.user,
        replace=asked.replace,
        safety=asked.safety,
        proofs=tuple(Proof(service=each.name, argv=proof.argv) for each in services for proof in each.restored),
    )


def point(text: str) -> tuple[str, float | None]:
    """Read an archive's id, or a time (UTC where it names no zone) as Unix seconds. Raises UsageError. Pure."""
    if not text:
        return "", None
    stamp, mark, rest = text.partition("Z-")
    if mark and rest.isalnum() and len(stamp) + 1 == _ID_LENGTH:
        return text, None
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        hint = "an id as `otobotctl backup list CLIENT` shows it, or a time such as 2026-11-21T14:00"
        raise UsageError(f"neither an archive nor a time: {text}", hint=hint) from error
    return "", (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _told(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()


class _Heard:
    """Passes on what happens, and keeps what the host says of the restore."""

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self.restored: Mapping[str, Any] = {}

    def event(self, record: Mapping[str, Any]) -> None:
        """Hear one record."""
        self.restored = (record.get("facts") or {}).get("_restored") or self.restored
        self._listener.event(record)


def _explained(error: StepFailedError, slug: str) -> OtobotError:
    if isinstance(error, TakenBackError):
        hint = f"what is there now is as before; see the archives: otobotctl backup list {slug}"
    else:
        hint = f"put it right and run the same command again: it first undoes or finishes what it left of {slug}"
    return type(error)(error.message, hint=hint, details=error.details)


def _restored(slug: str, host: str, said: Mapping[str, Any], executions: int, former: str) -> Restored:
    twice = f"{former} was not touched; where it still runs, {slug} runs twice: switch it off"
    return Restored(
        client=slug,
        host=host,
        archive=said["id"],
        target=said.get("target", ""),
        made=_told(said["made"]) if "made" in said else "",
        lost_s=said.get("lost_s", 0.0),
        took_s=said.get("took_s", 0.0),
        what=tuple(said.get("what", ())),
        rows=said.get("rows", {}),
        safety=said.get("safety", ""),
        erased=said.get("erased", 0),
        proofs=tuple(said.get("proofs", ())),
        executions=executions,
        moved_from=former,
        warnings=(twice,) if former else (),
    )
