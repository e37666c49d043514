"""`gpu models list`, `pull`, `rm`, `sync`: the manifest's list of models, and what is on the host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.errors import StepFailedError, UsageError
from otobotctl.manifest.words import suggest
from otobotctl.workflows import converging
from otobotctl.workflows.desired import Desired, load
from otobotctl.workflows.gpu.hosts import change, gpu_of, looked, written

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.plan.model import Stage
    from otobotctl.workflows.converging import HostRun
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class Model:
    """A model of a GPU host. `wanted`: the manifest lists it; `size_bytes` None: it is not there.

    While it is in memory, `loaded_bytes` is what it takes there, and `on_cards_bytes` how much of that the cards hold.
    """

    name: str
    wanted: bool
    size_bytes: int | None
    digest: str = ""
    loaded_bytes: int | None = None
    on_cards_bytes: int | None = None


def listed(fleet: Fleet, name: str, password: Password | None = None) -> tuple[Model, ...]:
    """The models that are there or should be, by name."""
    loaded = load(fleet)
    wanted = gpu_of(loaded, name).models
    return rows(wanted, looked(loaded, name, password), name)


def rows(wanted: Sequence[str], facts: Mapping[str, Any], host: str) -> tuple[Model, ...]:
    """What a host answers against what is wanted. Raises StepFailedError: its Ollama does not answer."""
    if facts["error"]:
        raise StepFailedError(f"{host}: Ollama does not answer: {facts['error']}", hint=f"otobotctl gpu setup {host}")
    there = {each["name"]: each for each in facts["models"]}
    loaded = {each["name"]: each for each in facts["loaded"]}
    return tuple(
        Model(
            name,
            name in wanted,
            there.get(name, {}).get("size"),
            there.get(name, {}).get("digest", "")[:12],
            loaded.get(name, {}).get("size"),
            loaded.get(name, {}).get("size_vram"),
        )
        for name in sorted({*wanted, *there})
    )


def pull(fleet: Fleet, name: str, models: Sequence[str], listener: Listener, password: Password | None) -> HostRun:
    """Put models on the manifest's list and fetch them. Raises StepFailedError with the arithmetic for want of room."""
    loaded = load(fleet)
    gpu_of(loaded, name)
    entry = written(loaded, name)
    change(fleet, name, {**entry, "models": list(dict.fromkeys((*entry.get("models", ()), *models)))})
    return _made(load(fleet), name, models, (), listener, password)


def remove(fleet: Fleet, name: str, models: Sequence[str], listener: Listener, password: Password | None) -> HostRun:
    """Take models off the manifest's list and off the host."""
    loaded = load(fleet)
    gpu_of(loaded, name)
    entry = written(loaded, name)
    kept = [each for each in entry.get("models", ()) if each not in models]
    change(fleet, name, {**entry, "models": kept})
    return _made(load(fleet), name, (), models, listener, password)


def sync(
    fleet: Fleet, name: str, agree: Callable[[str], None], listener: Listener, password: Password | None
) -> HostRun:
    """Fetch what the manifest lists and is missing, and remove what it does not list, once that is agreed to."""
    loaded = load(fleet)
    wanted = gpu_of(loaded, name).models
    extra = [row.name for row in rows(wanted, looked(loaded, name, password), name) if not row.wanted]
    if extra:
        agree(f"Remove {', '.join(extra)} from {name}?")
    return _made(loaded, name, wanted, extra, listener, password)


def known(fleet: Fleet, name: str, models: Iterable[str], password: Password | None) -> None:
    """Refuse names that are neither on the list nor on the host. Raises UsageError."""
    names = [row.name for row in listed(fleet, name, password)]
    for model in models:
        if model not in names:
            raise UsageError(f'{name} has no model "{model}"', hint=suggest(model, names))


def _made(
    loaded: Loaded,
    name: str,
    present: Iterable[str],
    absent: Iterable[str],
    listener: Listener,
    password: Password | None,
) -> HostRun:
    wanted = Desired(name, (_stage(present, absent, cpu=gpu_of(loaded, name).cpu),), ())
    return converging.converge(converging.opener(loaded, name), wanted, listener, password)


def _stage(present: Iterable[str], absent: Iterable[str], *, cpu: bool) -> Stage:
    """What is no longer wanted goes first: it makes room."""
    from otobotctl.plan.kinds.ollama_model import OllamaModelSpec
    from otobotctl.plan.model import Stage, Step

    gone = [Step(f"models/{each}", OllamaModelSpec(name=each, state="absent")) for each in dict.fromkeys(absent)]
    here = [Step(f"models/{each}", OllamaModelSpec(name=each, cpu=cpu)) for each in dict.fromkeys(present)]
    return Stage("models", (*gone, *here))
