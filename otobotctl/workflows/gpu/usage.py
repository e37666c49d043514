"""`gpu usage`: what each client asked IA Interne in a month, over every GPU host."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl.errors import UsageError
from otobotctl.workflows.desired import load
from otobotctl.workflows.fleetwide import failure
from otobotctl.workflows.gpu.hosts import asked, gpu_of, named
from otobotctl.workflows.parallel import Limits, each_host

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.errors import OtobotError
    from otobotctl.fleet import Fleet

_MEDIAN, _MOST = 0.5, 0.95


@dataclass(frozen=True)
class Tokens:
    """What a model was asked by a caller: requests that reached the engine, and the tokens of its answers.

    `failed` are errors of the engine, also late in an answer that began well; `left` were given up by the caller. In
    `guessed` requests the engine told no count: their tokens in are missing, those out are the pieces streamed.
    """

    requests: int
    failed: int
    left: int
    tokens_in: int
    tokens_out: int
    guessed: int


@dataclass(frozen=True)
class Caller:
    """A client's requests for one purpose; client "" are those that showed no key that is known.

    `bytes` were answered; half of the requests took `half_s` seconds at most, and 95 of 100 `most_s`: upper ends of
    what the host tells apart, None above the last. `by_day` has requests by day of the month, `by_path` those that were
    answered. `first_s` is as `half_s`, until the first byte of a model's answer. `by_model` has "" for requests that
    were refused; `tokens` is all of it, `tokens_by_day` those in and out.
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
    first_s: float | None
    tokens: Tokens
    by_model: Mapping[str, Tokens]
    tokens_by_day: Mapping[int, tuple[int, int]]


@dataclass(frozen=True)
class Usage:
    """A month (UTC) on these hosts, the callers with the most requests first."""

    month: str
    hosts: tuple[str, ...]
    callers: tuple[Caller, ...]
    warnings: tuple[str, ...]


def usage(
    fleet: Fleet, month: str | None, host: str | None, listener: Listener, password: Password | None = None
) -> tuple[Usage, OtobotError | None]:
    """Ask the hosts; also the error that those which could not be asked amount to, if any: their share is missing.

    Raises:
        UsageError: for what is no month.
    """
    wanted = month or f"{datetime.now(UTC):%Y-%m}"
    if not re.fullmatch(r"\d{4}-(0[1-9]|1[0-2])", wanted):
        raise UsageError(f'"{wanted}" is not a month', hint="write it like 2026-11")
    loaded = load(fleet)
    hosts = (host,) if host else named(loaded)
    for name in hosts:
        gpu_of(loaded, name)
    asking = {"month": wanted}
    outcomes = each_host(hosts, lambda name, _: asked(loaded, name, "gpu_usage", asking, password), Limits(), listener)
    answers = [each.result for each in outcomes if each.result is not None]
    said = [f"{each.host} could not be asked, what it counted is missing" for each in outcomes if each.error]
    unread = sum(each["unread"] for each in answers)
    said += [f"{unread} lines of the logs are no entries"] if unread else []
    return Usage(wanted, hosts, counted(answers), tuple(said)), failure(outcomes)


def counted(answers: Iterable[Mapping[str, Any]]) -> tuple[Caller, ...]:
    """The hosts' rows put together, by caller. Pure."""
    rows: dict[str, tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]] = {}
    ends: Sequence[float] = ()
    for answer in answers:
        ends = answer["ends"]
        for place, kind in enumerate(("rows", "models")):
            for row in answer[kind]:
                rows.setdefault(row["caller"], ([], []))[place].append(row)
    found = [_caller(name, *of, ends) for name, of in rows.items()]
    return tuple(sorted(found, key=lambda each: (-each.requests, each.client, each.purpose)))


def _caller(
    name: str, rows: Sequence[Mapping[str, Any]], models: Sequence[Mapping[str, Any]], ends: Sequence[float]
) -> Caller:
    client, _, purpose = name.partition("/")
    by_day: dict[int, int] = {}
    by_path: dict[str, int] = {}
    for row in rows:
        by_day[row["day"]] = by_day.get(row["day"], 0) + row["requests"]
        if row["path"]:
            by_path[row["path"]] = by_path.get(row["path"], 0) + row["requests"]
    tokens_by_day: dict[int, tuple[int, int]] = {}
    for row in models:
        read, written = tokens_by_day.get(row["day"], (0, 0))
        tokens_by_day[row["day"]] = (read + row["tokens_in"], written + row["tokens_out"])
    took, first = (_sums(ends, of, name) for of, name in ((rows, "took"), (models, "first")))
    asked = sorted({row["model"] for row in models})
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
        _share(first, ends, _MEDIAN) if sum(first) else None,
        _tokens(models),
        {model: _tokens([row for row in models if row["model"] == model]) for model in asked},
        dict(sorted(tokens_by_day.items())),
    )


def _sums(ends: Sequence[float], rows: Sequence[Mapping[str, Any]], name: str) -> list[int]:
    none = [0] * (len(ends) + 1)
    return [sum(each) for each in zip(none, *(row[name] for row in rows), strict=True)]


def _tokens(rows: Sequence[Mapping[str, Any]]) -> Tokens:
    names = [field.name for field in fields(Tokens)]
    return Tokens(**{name: sum(row[name] for row in rows) for name in names})


def _share(took: Sequence[int], ends: Sequence[float], share: float) -> float | None:
    """The end below which this share of the requests is; None above the last one."""
    wanted, seen = share * sum(took), 0
    for count, end in zip(took, (*ends, None), strict=True):
        seen += count
        if seen >= wanted:
            return end
    return None
