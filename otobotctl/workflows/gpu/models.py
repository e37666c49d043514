"""`gpu models list`, `pull`, `rm`, `sync`: the manifest's list of models, and what is on the host."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from otobotctl.errors import OtobotError, StepFailedError, UsageError
from otobotctl.manifest.gpu import served
from otobotctl.manifest.words import suggest
from otobotctl.workflows import converging
from otobotctl.workflows.desired import Desired, load
from otobotctl.workflows.gpu.hosts import change, gpu_of, looked, written
from otobotctl.workflows.gpu.telling import MODELS, tell_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.manifest.models import Gpu
    from otobotctl.plan.model import Stage
    from otobotctl.workflows.converging import HostRun
    from otobotctl.workflows.desired import Loaded


NAMES: Mapping[str, str] = {"ollama": "Ollama", "vllm": "vLLM"}
_STAGES = ("ia", "front", "self-test")  # of playbooks/gpu.yaml: what vLLM is started by


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
    return rows(gpu_of(loaded, name), looked(loaded, name, password), name)


def rows(gpu: Gpu, facts: Mapping[str, Any], host: str) -> tuple[Model, ...]:
    """What a host answers against what is wanted. Raises StepFailedError: its engine does not answer."""
    if facts["error"]:
        problem = f"{host}: {NAMES[gpu.engine]} does not answer: {facts['error']}"
        raise StepFailedError(problem, hint=f"otobotctl gpu setup {host}")
    wanted = served(gpu.engine, gpu.models)
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
    """Put models on the manifest's list and fetch them; other hosts of its name are told.

    Raises:
        StepFailedError: with the arithmetic for want of room, or Ollama's own word. What is not there then is not on
            the list either, so that no later apply stumbles over it; what has come of it is kept for another try.
    """
    loaded = load(fleet)
    _refuse_vllm(gpu_of(loaded, name), name)
    before = tuple(written(loaded, name).get("models", ()))
    _list(fleet, name, (*before, *models))
    try:
        done = _made(load(fleet), name, models, (), listener, password)
    except StepFailedError:
        with suppress(OtobotError):
            there = {each["name"] for each in looked(loaded, name, password)["models"]}
            _list(fleet, name, (*before, *(model for model in models if model in there)))
        raise
    return _told(load(fleet), name, done, listener, password)


def remove(fleet: Fleet, name: str, models: Sequence[str], listener: Listener, password: Password | None) -> HostRun:
    """Take models off the manifest's list and off the host; other hosts of its name are told, and ask it no more."""
    loaded = load(fleet)
    _refuse_vllm(gpu_of(loaded, name), name)
    _list(fleet, name, [each for each in written(loaded, name).get("models", ()) if each not in models])
    loaded = load(fleet)
    said = tell_of(loaded, name, MODELS, listener, password, itself=True)
    done = _made(loaded, name, (), models, listener, password)
    return replace(done, warnings=(*done.warnings, *said))


def _list(fleet: Fleet, name: str, models: Sequence[str]) -> None:
    change(fleet, name, {**written(load(fleet), name), "models": list(dict.fromkeys(models))})


def _told(loaded: Loaded, name: str, done: HostRun, listener: Listener, password: Password | None) -> HostRun:
    said = tell_of(loaded, name, MODELS, listener, password, itself=True)
    return replace(done, warnings=(*done.warnings, *said))


def sync(
    fleet: Fleet, name: str, agree: Callable[[str], None], listener: Listener, password: Password | None
) -> HostRun:
    """Fetch what the manifest lists and is missing, and remove what it does not list, once that is agreed to.

    vLLM is started with the manifest's one model, if it is not the one that it serves.
    """
    loaded = load(fleet)
    gpu = gpu_of(loaded, name)
    if gpu.engine == "vllm":
        wanted = converging.desired_of(loaded, name)
        stages = tuple(stage for stage in wanted.stages if stage.name in _STAGES)
        return converging.converge(converging.opener(loaded, name), replace(wanted, stages=stages), listener, password)
    extra = [row.name for row in rows(gpu, looked(loaded, name, password), name) if not row.wanted]
    if extra:
        agree(f"Remove {', '.join(extra)} from {name}?")
    return _told(loaded, name, _made(loaded, name, gpu.models, extra, listener, password), listener, password)


def _refuse_vllm(gpu: Gpu, name: str) -> None:
    if gpu.engine == "vllm":
        hint = f"another model in its place: otobotctl gpu setup {name} --model mistralai/Mistral-7B-Instruct-v0.3"
        raise UsageError(f"{name} runs vLLM, which serves the manifest's one model", hint=hint)


def known(fleet: Fleet, name: str, models: Iterable[str], password: Password | None) -> None:
    """Refuse names that are neither on the list nor on the host. Raises UsageError."""
    _refuse_vllm(gpu_of(load(fleet), name), name)
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
