"""`backup run`: archives now, on every target, made by the hosts themselves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.errors import OtobotError, PartialError, StepFailedError, UsageError
from otobotctl.workflows.backup.asking import ask, chosen
from otobotctl.workflows.desired import load
from otobotctl.workflows.parallel import Limits, each_host

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded
    from otobotctl.workflows.parallel import Outcome


@dataclass(frozen=True)
class Made:
    """What came of one target. `archive` is what state.json keeps of it; `error` is kind, message and remedy."""

    client: str
    target: str
    archive: Mapping[str, Any] | None
    error: Mapping[str, str] | None
    took_s: float


@dataclass(frozen=True)
class BackupRun:
    """Every target of every client that was asked for."""

    made: tuple[Made, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Wish:
    """What is wanted of a run; without `targets`, all of them."""

    targets: tuple[str, ...] = ()
    consistent: bool = False
    reason: str = "manual"
    patience_s: float = 0.0


def run(
    fleet: Fleet,
    names: Sequence[str],
    wish: Wish,
    listener: Listener,
    password: Password | None = None,
    *,
    every: bool = False,
) -> tuple[BackupRun, OtobotError | None]:
    """Make an archive of each client on each of its targets; also the error that failures amount to, if any."""
    loaded = load(fleet)
    if every:
        names = [slug for slug in loaded.manifest.clients if loaded.manifest.client(slug).backup.targets]
        if not names:
            raise UsageError("no client has a backup target yet", hint="otobotctl backup schedule CLIENT says how")
    hosts = chosen(loaded.manifest, names, every=False)
    outcomes = each_host(
        tuple(hosts), lambda host, heard: on_host(loaded, host, hosts[host], wish, heard, password), Limits(), listener
    )
    done = [each.result for each in outcomes if each.result is not None]
    whole = BackupRun(
        tuple(made for each in done for made in each.made), tuple(line for each in done for line in each.warnings)
    )
    return whole, _failure(whole, outcomes)


def on_host(
    loaded: Loaded, host: str, clients: Sequence[str], wish: Wish, listener: Listener, password: Password | None = None
) -> BackupRun:
    """Make archives of these clients of one host. Raises OtobotError: the run did not begin, or the line was lost."""
    made, warnings = [], []
    records = ask(
        loaded,
        host,
        clients,
        "run",
        password,
        targets=wish.targets,
        reason=wish.reason,
        consistent=wish.consistent,
        patience_s=wish.patience_s,
    )
    for record in records:
        event = next((name for name in _EVENTS if name in record), None)
        if event is not None:
            listener.event({"event": _EVENTS[event], "host": host, **record})
        if "result" in record:
            made.append(Made(record["client"], **record["result"]))
        elif "warning" in record:
            warnings.append(f"{record['client']}: {record['warning']}")
    return BackupRun(tuple(made), tuple(warnings))


_EVENTS = {"saved": "backup_saved", "pruning": "backup_pruning", "target": "backup_target", "result": "backup_result"}


def _failure(whole: BackupRun, outcomes: Sequence[Outcome[BackupRun]]) -> OtobotError | None:
    """No error, the one that there is, or PartialError with a line for each."""
    hosts = [each.error for each in outcomes if each.error is not None]
    failed = [each for each in whole.made if each.error is not None]
    if len(hosts) == 1 and not whole.made:
        return hosts[0]
    errors = [target_failed(each) for each in failed]
    both: list[OtobotError] = [*hosts, *errors]
    if not both:
        return None
    if len(both) == 1 and len(whole.made) == 1:
        return both[0]
    details = [f"{each.message}; next: {each.hint}" for each in both]
    count = len(whole.made) + len(hosts)
    return PartialError(
        f"{len(both)} of {count} archives could not be made", hint="older archives are intact", details=details
    )


def target_failed(made: Made) -> StepFailedError:
    """The failure of one target as an operator reads it."""
    error = made.error or {}
    return StepFailedError(f"{made.client} on {made.target}: {error.get('message')}", hint=error.get("remedy"))
