"""`gpu bench`: how fast a host's models answer one caller, and several at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.errors import StepFailedError, UsageError
from otobotctl.manifest.gpu import served
from otobotctl.workflows.desired import load
from otobotctl.workflows.gpu.hosts import asked, gpu_of, place

if TYPE_CHECKING:
    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet


@dataclass(frozen=True)
class Speed:
    """A model asked by so many callers at the same moment.

    `tokens_s` of all together and `each_tokens_s` of one; `first_s` is the wait for the first token: half of the
    callers waited so long at most, the last one `first_most_s`. `failed` callers got no whole answer.
    """

    model: str
    callers: int
    tokens_s: float
    each_tokens_s: float
    first_s: float | None
    first_most_s: float | None
    failed: int


@dataclass(frozen=True)
class Bench:
    """What was measured on the host, without the proxy and the line. `load_s`: until a model's first answer came."""

    host: str
    tokens: int
    load_s: Mapping[str, float]
    speeds: tuple[Speed, ...]
    warnings: tuple[str, ...]


def bench(
    fleet: Fleet,
    name: str,
    models: Sequence[str],
    callers: Sequence[int],
    tokens: int,
    password: Password | None = None,
) -> Bench:
    """Ask the host's models, one after the other; default: those of the manifest. It is slower for others meanwhile.

    Raises:
        UsageError: there is no model to ask.
        StepFailedError: a model cannot answer at all.
    """
    loaded = load(fleet)
    gpu = gpu_of(loaded, name)
    wanted = served(gpu.engine, models or gpu.models)
    if not wanted:
        raise UsageError(f"{name} has no model to ask", hint=f"otobotctl gpu models pull {name} mistral:7b")
    params = {**place(gpu), "models": list(wanted), "callers": list(callers), "tokens": tokens}
    return measured(name, tokens, asked(loaded, name, "gpu_bench", params, password)["rows"])


def measured(name: str, tokens: int, rows: Sequence[Mapping[str, Any]]) -> Bench:
    """The rows of a host as speeds. Raises StepFailedError: no model could answer. Pure."""
    first = [row for row in rows if row["callers"] == 0]
    said = [f"{row['model']}: {row['error']}" for row in first if row["failed"]]
    if first and len(said) == len(first):
        raise StepFailedError(f"{name}: no model could answer", hint=f"otobotctl gpu models list {name}", details=said)
    asked = [row for row in rows if row["callers"]]
    said += [f"{row['model']}, {row['callers']} callers: {row['error']}" for row in asked if row["failed"]]
    loads = {row["model"]: row["seconds"] for row in first if not row["failed"]}
    return Bench(name, tokens, loads, tuple(_speed(row) for row in asked), tuple(said))


def _speed(row: Mapping[str, Any]) -> Speed:
    total = row["tokens"] / row["seconds"] if row["seconds"] else 0.0
    waits = row["first_s"]
    return Speed(
        row["model"],
        row["callers"],
        round(total, 1),
        round(total / row["callers"], 1),
        waits[(len(waits) - 1) // 2] if waits else None,
        waits[-1] if waits else None,
        row["failed"],
    )
