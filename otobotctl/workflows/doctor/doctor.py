"""`doctor`: what is wrong with hosts and clients, and the way out of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otobotctl.doctor import report
from otobotctl.errors import DriftError, OtobotError, UsageError
from otobotctl.workflows import fleetwide
from otobotctl.workflows.desired import load
from otobotctl.workflows.doctor import fixing, looking
from otobotctl.workflows.parallel import Limits, each_host

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.doctor.model import Finding
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded
    from otobotctl.workflows.parallel import Outcome


@dataclass(frozen=True)
class Row:
    """One finding as it is shown. `severity`: critical, warning or info; `fixable`: --fix knows a safe step for it."""

    severity: str
    check: str
    subject: str
    seen: str
    remedy: str
    fixable: bool


@dataclass(frozen=True)
class Examined:
    """One host. `findings`: the worst first; `skipped`: what could not be looked at, and why; `fixed`: tried."""

    host: str
    healthy: bool
    findings: tuple[Row, ...]
    made: tuple[str, ...]
    skipped: tuple[report.Skipped, ...]
    fixed: tuple[fixing.Fixed, ...]
    took_s: float


@dataclass(frozen=True)
class Visit:
    """What the doctor found; `at` in UTC, `counts` by severity."""

    at: str
    hosts: tuple[Examined, ...]
    counts: Mapping[str, int] = field(default_factory=dict)


Agree = Callable[[Sequence[tuple[str, str]]], bool]


def doctor(
    fleet: Fleet,
    names: Sequence[str],
    limits: Limits,
    listener: Listener,
    password: Password | None = None,
    *,
    agree: Agree | None = None,
) -> tuple[Visit, OtobotError | None]:
    """Examine hosts, or the hosts of clients; without a name every host.

    With `agree` what is safe to fix is fixed, after it was asked about [(host, what)], and the host examined again.
    The error is a DriftError where anything is found that somebody must act on.
    """
    loaded = load(fleet)
    chosen = selected(loaded, names)
    outcomes = each_host(
        tuple(chosen), lambda name, _: _examine(loaded, name, chosen[name], password), limits, listener
    )
    if agree is not None:
        outcomes = _fixed(loaded, chosen, outcomes, agree, limits, listener, password)
    examined = tuple(each.result[0] for each in outcomes if each.result is not None)
    visit = Visit(
        datetime.now(UTC).isoformat(timespec="seconds"),
        examined,
        report.counted(finding for each in outcomes if each.result is not None for finding in each.result[1]),
    )
    return visit, fleetwide.failure(outcomes) or _verdict(visit)


def selected(loaded: Loaded, names: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Hosts, each with the clients that were named (none: all of them)."""
    manifest = loaded.manifest
    if not manifest.hosts:
        raise UsageError("the fleet has no hosts yet", hint="otobotctl host add NAME --address ADDRESS")
    found: dict[str, tuple[str, ...]] = {} if names else dict.fromkeys(manifest.hosts, ())
    whole = {name for name in names if name in manifest.hosts}
    for name in names:
        if name in whole:
            found[name] = ()
        elif name in manifest.clients:
            host = manifest.client(name).host
            if host not in whole:
                found[host] = (*found.get(host, ()), name)
        else:
            known = ", ".join((*manifest.hosts, *manifest.clients))
            raise UsageError(f"{name} is neither a host nor a client of this fleet", hint=f"known are: {known}")
    return found


Found = tuple[Examined, tuple["Finding", ...]]


def _examine(
    loaded: Loaded,
    name: str,
    clients: Sequence[str],
    password: Password | None,
    done: tuple[fixing.Fixed, ...] = (),
) -> Found:
    started = time.monotonic()
    diagnosis = report.diagnose(looking.case_of(loaded, name, clients, password))
    rows = tuple(
        Row(each.severity, each.check, each.subject, each.seen, each.remedy, each.fix is not None)
        for each in diagnosis.findings
    )
    healthy = not report.wrong(diagnosis.findings)
    took_s = round(time.monotonic() - started, 3)
    examined = Examined(name, healthy, rows, diagnosis.made, diagnosis.skipped, done, took_s)
    return examined, diagnosis.findings


def _fixed(
    loaded: Loaded,
    chosen: Mapping[str, tuple[str, ...]],
    outcomes: tuple[Outcome[Found], ...],
    agree: Agree,
    limits: Limits,
    listener: Listener,
    password: Password | None,
) -> tuple[Outcome[Found], ...]:
    plans = {each.host: fixing.fixes(each.result[1]) for each in outcomes if each.result is not None}
    asked = [(host, fix.title) for host, fixes in plans.items() for fix in fixes]
    if not asked or not agree(asked):
        return outcomes

    def again(name: str, heard: Listener) -> Found:
        done = fixing.fix(loaded, name, plans[name], heard, password)
        return _examine(loaded, name, chosen[name], password, done)

    later = {each.host: each for each in each_host([host for host in plans if plans[host]], again, limits, listener)}
    return tuple(later.get(each.host, each) for each in outcomes)


def _verdict(visit: Visit) -> OtobotError | None:
    count = sum(visit.counts[key] for key in ("critical", "warning"))
    if not count:
        return None
    ill = [each.host for each in visit.hosts if not each.healthy]
    fixable = any(row.fixable and row.severity != "info" for each in visit.hosts for row in each.findings)
    hint = f"otobotctl doctor {' '.join(ill)} --fix does what is safe" if fixable else "each finding names its remedy"
    return DriftError(f"{count} finding{'s' if count > 1 else ''} on {', '.join(ill)}", hint=hint)
