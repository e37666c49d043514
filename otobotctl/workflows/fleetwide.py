"""`host apply` and `host drift` on many hosts: each host its own run, one answer for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.errors import DriftError, OtobotError, PartialError
from otobotctl.workflows import converging
from otobotctl.workflows.desired import load, warnings
from otobotctl.workflows.parallel import Limits, Outcome, each_host

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.converging import HostPlan, HostRun, PlanRow
    from otobotctl.workflows.desired import Loaded
    from otobotctl.workflows.selection import Selection


@dataclass(frozen=True)
class Applied:
    """One host of an apply. `state`: unchanged, changed, failed, or left out; `reason` says why it was left out."""

    host: str
    state: str
    changed: tuple[str, ...] = ()
    executions: int = 0
    took_s: float = 0.0
    reason: str = ""
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class FleetRun:
    """What an apply did, host by host, in the manifest's order; `warnings` are of versions and of what was kept."""

    hosts: tuple[Applied, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drifted:
    """One host looked at. `state`: same, differs, or failed."""

    host: str
    state: str
    looked_at: int = 0
    steps: tuple[PlanRow, ...] = ()
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class FleetDrift:
    """Where hosts differ from what the fleet says; `warnings` are of versions and of what was kept."""

    hosts: tuple[Drifted, ...]
    warnings: tuple[str, ...] = ()


def apply(
    fleet: Fleet, selection: Selection, limits: Limits, listener: Listener, password: Password | None = None
) -> tuple[FleetRun, OtobotError | None]:
    """Make hosts what the fleet says, side by side; also return the error that the whole of it amounts to, if any.

    Safe to run again at any time: a host that is as it should be costs one look and stays as it is.
    """
    loaded = load(fleet)
    names = selection.of(loaded.manifest)
    outcomes = each_host(
        names, lambda name, heard: converging.apply_loaded(loaded, name, heard, password), limits, listener
    )
    left = [each.host for each in outcomes if each.result is None]
    hint = f"put that right and run the same command again, or for what is left: otobotctl host apply {' '.join(left)}"
    error = failure(outcomes, hint)
    return FleetRun(tuple(_applied(each) for each in outcomes), _told(loaded, names, outcomes)), error


def drift(
    fleet: Fleet, selection: Selection, limits: Limits, listener: Listener, password: Password | None = None
) -> tuple[FleetDrift, OtobotError | None]:
    """Look where hosts differ from what the fleet says, side by side; nothing is changed.

    The error is a DriftError as soon as one host differs, whatever befell the others; its details name those too.
    """
    found, outcomes = _look(fleet, selection, limits, listener, password)
    return found, _differ(outcomes) or failure(outcomes)


def plan(
    fleet: Fleet, selection: Selection, limits: Limits, listener: Listener, password: Password | None = None
) -> tuple[FleetDrift, OtobotError | None]:
    """What an apply would change, side by side; nothing is changed. A host that differs is no error."""
    found, outcomes = _look(fleet, selection, limits, listener, password)
    return found, failure(outcomes)


def _look(
    fleet: Fleet, selection: Selection, limits: Limits, listener: Listener, password: Password | None
) -> tuple[FleetDrift, tuple[Outcome[HostPlan], ...]]:
    loaded = load(fleet)
    names = selection.of(loaded.manifest)
    outcomes = each_host(names, lambda name, _: converging.plan_loaded(loaded, name, password), limits, listener)
    return FleetDrift(tuple(_drifted(each) for each in outcomes), _told(loaded, names, outcomes)), outcomes


def warnings_of(loaded: Loaded, hosts: Sequence[str]) -> tuple[str, ...]:
    """What an operator should know of the versions on these hosts, in their order."""
    return warnings(loaded, [client for name in hosts for client in loaded.manifest.clients_of(name)])


def _told(
    loaded: Loaded, names: Sequence[str], outcomes: Sequence[Outcome[HostRun]] | Sequence[Outcome[HostPlan]]
) -> tuple[str, ...]:
    """Of the versions, and what the hosts themselves had to say; each once."""
    said = (line for each in outcomes if each.result is not None for line in each.result.warnings)
    return tuple(dict.fromkeys([*warnings_of(loaded, names), *said]))


_AGAIN = "put that right and run the same command again: what is done already is not done twice"


def failure(outcomes: Sequence[Outcome[Any]], hint: str = _AGAIN) -> OtobotError | None:
    """The error of all hosts together: none, a host's own where it is the only one, or PartialError with `hint`."""
    failed = [each.error for each in outcomes if each.error is not None]
    if not failed:
        return None
    if len(outcomes) == 1:
        return failed[0]
    left_out = sum(bool(each.left_out) for each in outcomes)
    also = f", and {left_out} were not started" if left_out else ""
    return PartialError(
        f"{len(failed)} of {len(outcomes)} hosts failed{also}",
        hint=hint,
        details=_lines(outcomes),
    )


def _lines(outcomes: Sequence[Outcome[Any]]) -> list[str]:
    """One line a host that did not succeed: its own error, exit code and remedy."""
    lines = []
    for each in outcomes:
        if each.error is not None:
            remedy = f"; next: {each.error.hint}" if each.error.hint else ""
            lines.append(f"{each.host}: exit {each.error.exit_code}: {each.error.message}{remedy}")
        elif each.left_out:
            lines.append(f"{each.host}: not started: {each.left_out}")
    return lines


def _differ(outcomes: Sequence[Outcome[HostPlan]]) -> DriftError | None:
    plans = [each.result for each in outcomes if each.result is not None and each.result.steps]
    if not plans:
        return None
    names = " ".join(plan.host for plan in plans)
    return DriftError(
        f"{len(plans)} of {len(outcomes)} hosts differ from what the fleet says",
        hint=f"otobotctl host plan {plans[0].host} shows how; otobotctl host apply {names} puts it right",
        details=[*(f"{plan.host}: {len(plan.steps)} steps differ" for plan in plans), *_lines(outcomes)],
    )


def _applied(outcome: Outcome[HostRun]) -> Applied:
    host, took_s = outcome.host, outcome.took_s
    if outcome.error is not None:
        return Applied(host, "failed", took_s=took_s, error=outcome.error.told())
    if outcome.result is None:
        return Applied(host, "left out", reason=outcome.left_out)
    done = outcome.result
    return Applied(host, "changed" if done.changed else "unchanged", done.changed, done.executions, took_s)


def _drifted(outcome: Outcome[HostPlan]) -> Drifted:
    if outcome.error is not None or outcome.result is None:
        return Drifted(outcome.host, "failed", error=outcome.error.told() if outcome.error else None)
    found = outcome.result
    return Drifted(outcome.host, "differs" if found.steps else "same", found.looked_at, found.steps)
