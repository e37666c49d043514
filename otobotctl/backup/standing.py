"""How a client's backups stand against what was promised: which archives, checks and drills are overdue. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from otobotctl.manifest.backups import GRACE, VERIFY_DAYS, drill_took_s, log_overdue

_DAY_S = 86400.0


@dataclass(frozen=True)
class TargetStanding:
    """One target of a client. `overdue` says what is late or failed there; nothing is wrong where it is empty.

    `log` is how PostgreSQL's log stands there (agent/backup/pitr/here.standing), None without point-in-time recovery.
    `archive` is the newest whole one, `age_s` how long ago it began; `error` is the last run's, "" where it went well.
    """

    client: str
    host: str
    target: str
    append_only: bool
    archive: Mapping[str, Any] | None
    age_s: float | None
    rpo_s: float
    attempted_at: float | None
    error: str
    verified: Mapping[str, Any] | None
    pruned_at: float | None
    overdue: tuple[str, ...]
    log: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class ClientStanding:
    """A client. `targets` is empty where it has none: then no archive is made of it by itself.

    `drill` is the last one, with the restore's measured `took_s`; `overdue` is about drills; `next_at` in Unix seconds.
    """

    client: str
    host: str
    targets: tuple[TargetStanding, ...]
    drill: Mapping[str, Any] | None
    rto_s: float
    next_at: float | None
    overdue: tuple[str, ...]


def standing(host: str, told: Mapping[str, Any], now: float) -> ClientStanding:
    """Judge what a host told of a client (agent/backup/asked.py)."""
    if told["targets"] is None:
        return ClientStanding(told["client"], host, (), None, 0.0, None, ())
    targets = tuple(_target(host, told, each, now) for each in told["targets"])
    drill = told["state"]["drill"]
    first = min((each.get("first") or now for each in told["state"]["targets"].values()), default=now)
    late = _drill(drill, first, told["drill_days"] * _DAY_S, now, told["rto_s"])
    return ClientStanding(told["client"], host, targets, drill, told["rto_s"], told["next"], late)


def _target(host: str, told: Mapping[str, Any], target: Mapping[str, Any], now: float) -> TargetStanding:
    known = told["state"]["targets"].get(target["name"]) or {}
    archive, attempt, verified = known.get("archive"), known.get("attempt") or {}, known.get("verified")
    age_s = None if archive is None else round(now - archive["made"])
    overdue = []
    promised = told["rpo_s"] > 0  # a client whose schedule is "never" is promised nothing
    if age_s is None and promised:
        overdue.append("no archive yet")
    elif age_s is not None and promised and age_s > told["rpo_s"] * GRACE:
        overdue.append(f"the newest archive is {age_s / 3600:.1f} h old, promised are {told['rpo_s'] / 3600:g}")
    if attempt.get("error"):
        overdue.append(f"the last run failed: {attempt['error']}")
    if verified and verified.get("error"):
        overdue.append(f"the last check failed: {verified['error']}")
    elif _age(verified, known.get("first"), now) > VERIFY_DAYS * _DAY_S:
        overdue.append(f"no check of its data in {VERIFY_DAYS} days")
    log = (told.get("pitr") or {}).get(target["name"])
    overdue += log_overdue(log)
    return TargetStanding(
        told["client"], host, target["name"], target["append_only"], archive, age_s, told["rpo_s"], attempt.get("at"),
        attempt.get("error") or "", verified, (known.get("pruned") or {}).get("at"), tuple(overdue), log,
    )  # fmt: skip


def _age(event: Mapping[str, Any] | None, first: float | None, now: float) -> float:
    """How long ago it was; where it never was, since there was something to do it with."""
    return now - (event["at"] if event else first or now)


def _drill(drill: Mapping[str, Any] | None, first: float, every_s: float, now: float, rto_s: float) -> tuple[str, ...]:
    late = []
    if drill and not drill["ok"]:
        late.append("the last drill failed")
    if _age(drill, first, now) > every_s + _DAY_S:
        late.append(f"no drill in {every_s / _DAY_S:.0f} days")
    if drill and drill["ok"] and (took_s := drill_took_s(drill)) > rto_s:
        late.append(f"the last drill took {took_s / 60:.0f} min, promised are {rto_s / 60:.0f}")
    return tuple(late)
