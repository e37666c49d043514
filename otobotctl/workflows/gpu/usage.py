"""`gpu usage`: what each client asked IA Interne in a month, over every GPU host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl.errors import UsageError
from otobotctl.workflows.desired import load
from otobotctl.workflows.gpu.hosts import asked, gpu_of, named

if TYPE_CHECKING:
    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet

_MEDIAN, _MOST = 0.5, 0.95


@dataclass(frozen=True)
class Caller:
    """A client's requests for one purpose; client "" are those that showed no key that is known.

    `bytes` were answered; half of the requests took `half_s` seconds at most, and 95 of 100 `most_s`: upper ends of
    what the host tells apart, None above the last. `by_day` has requests by day of the month, `by_path` those that were
    answered.
    """

    client: str
    purpose: str
    requests: int
    refused: int
    bytes: int
    seconds: float
    half_s: float | None
    most_s: float | None
    by_day: Mapping[int, int]
    by_path: Mapping[str, int]


@dataclass(frozen=True)
class Usage:
    """A month (UTC) on these hosts, the callers with the most requests first."""

    month: str
    hosts: tuple[str, ...]
    callers: tuple[Caller, ...]
    warnings: tuple[str, ...]


def usage(fleet: Fleet, month: str | None, host: str | None, password: Password | None = None) -> Usage:
    """Ask the hosts. Raises UsageError for what is no month; HostUnreachableError, StepFailedError."""
    wanted = month or f"{datetime.now(UTC):%Y-%m}"
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", wanted):
        raise UsageError(f'"{wanted}" is not a month', hint="write it like 2026-11")
    loaded = load(fleet)
    hosts = (host,) if host else named(loaded)
    answers = []
    for name in hosts:
        gpu_of(loaded, name)
        answers.append(asked(loaded, name, "gpu_usage", {"month": wanted}, password))
    unread = sum(each["unread"] for each in answers)
    said = (f"{unread} lines of the logs are no entries",) if unread else ()
    return Usage(wanted, hosts, counted(answers), said)


def counted(answers: Iterable[Mapping[str, Any]]) -> tuple[Caller, ...]:
    """The hosts' rows put together, by caller. Pure."""
    rows: dict[str, list[Mapping[str, Any]]] = {}
    ends: Sequence[float] = ()
    for answer in answers:
        ends = answer["ends"]
        for row in answer["rows"]:
            rows.setdefault(row["caller"], []).append(row)
    found = [_caller(name, of, ends) for name, of in rows.items()]
    return tuple(sorted(found, key=lambda each: (-each.requests, each.client, each.purpose)))


def _caller(name: str, rows: Sequence[Mapping[str, Any]], ends: Sequence[float]) -> Caller:
    client, _, purpose = name.partition("/")
    by_day: dict[int, int] = {}
    by_path: dict[str, int] = {}
    for row in rows:
        by_day[row["day"]] = by_day.get(row["day"], 0) + row["requests"]
        if row["path"]:
            by_path[row["path"]] = by_path.get(row["path"], 0) + row["requests"]
    took = [sum(each) for each in zip(*(row["took"] for row in rows), strict=True)]
    return Caller(
        client,
        purpose,
        sum(row["requests"] for row in rows),
        sum(row["refused"] for row in rows),
        sum(row["bytes"] for row in rows),
        round(sum(row["seconds"] for row in rows), 1),
        _share(took, ends, _MEDIAN),
        _share(took, ends, _MOST),
        dict(sorted(by_day.items())),
        dict(sorted(by_path.items())),
    )


def _share(took: Sequence[int], ends: Sequence[float], share: float) -> float | None:
    """The end below which this share of the requests is; None above the last one."""
    wanted, seen = share * sum(took), 0
    for count, end in zip(took, (*ends, None), strict=True):
        seen += count
        if seen >= wanted:
            return end
    return None
