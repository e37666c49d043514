"""`gpu status`: cards, what runs the models, and what an operator should look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.errors import OtobotError
from otobotctl.render.catalog import load_catalog
from otobotctl.workflows.desired import load
from otobotctl.workflows.fleetwide import failure
from otobotctl.workflows.gpu.hosts import gpu_of, looked, named
from otobotctl.workflows.gpu.models import NAMES, Model, rows
from otobotctl.workflows.gpu.traffic import Asker, Flight, askers, flights
from otobotctl.workflows.parallel import Limits, each_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.manifest.models import Gpu
    from otobotctl.workflows.parallel import Outcome

_HOT = 85.0  # degrees Celsius, from which on NVIDIA's data centre cards slow down
_AT_ONCE = {"ollama": "parallel", "vllm": "requests"}  # the setting: how many requests a model answers at once
_FULL = 0.05  # of the disk


@dataclass(frozen=True)
class Card:
    """A card. Memory in MiB, power in W, temperature in degrees Celsius, use in per cent; None: it does not tell.

    `trouble` is why it cannot be used, "" for one that can; `mig`: it is cut in slices.
    """

    name: str
    driver: str
    memory_mib: float | None
    used_mib: float | None
    use: float | None
    celsius: float | None
    watts: float | None
    limit_watts: float | None
    errors: float | None
    trouble: str = ""
    mig: bool = False


@dataclass(frozen=True)
class GpuStatus:
    """A GPU host now; `warnings` are for the operator. `version` is its engine's, "" when that does not answer.

    `running` and `waiting` count the requests that vLLM works on and those that wait; Ollama does not tell. With an
    `error` it could not be asked, and nothing else is known.
    """

    host: str
    engine: str
    version: str
    cards: tuple[Card, ...]
    models: tuple[Model, ...]
    memory: Mapping[str, Any]
    disk: Mapping[str, Any]
    flights: tuple[Flight, ...]
    askers: tuple[Asker, ...]
    warnings: tuple[str, ...]
    running: int | None = None
    waiting: int | None = None
    error: Mapping[str, Any] | None = None


def status(
    fleet: Fleet, name: str | None, listener: Listener, password: Password | None = None
) -> tuple[tuple[GpuStatus, ...], OtobotError | None]:
    """How a GPU host is, or every one; also the error that those which could not be asked amount to, if any."""
    loaded = load(fleet)
    catalog = load_catalog()

    def one(each: str, _: Listener) -> GpuStatus:
        gpu = gpu_of(loaded, each)
        at_once = _AT_ONCE[gpu.engine]
        parallel = gpu.settings.get(gpu.engine, {}).get(at_once, catalog.service(gpu.engine).settings[at_once].default)
        return judged(each, gpu, looked(loaded, each, password), int(str(parallel)))

    hosts = (name,) if name else named(loaded)
    engines = {each: gpu_of(loaded, each).engine for each in hosts}
    outcomes = each_host(hosts, one, Limits(), listener)
    return tuple(each.result or _unseen(each, engines[each.host]) for each in outcomes), failure(outcomes)


def _unseen(outcome: Outcome[GpuStatus], engine: str) -> GpuStatus:
    error = outcome.error or OtobotError("not asked")
    return GpuStatus(outcome.host, engine, "", (), (), {}, {}, (), (), (), error=error.told())


def judged(name: str, gpu: Gpu, facts: Mapping[str, Any], parallel: int = 1) -> GpuStatus:
    """What a host answers, and what is wrong with it; it answers `parallel` requests of a model at once. Pure."""
    cards = tuple(_card(each) for each in facts["cards"])
    models = () if facts["error"] else rows(gpu, facts, name)
    said = [f"{NAMES[gpu.engine]} does not answer: {facts['error']}"] if facts["error"] else []
    if not cards and not gpu.cpu:
        said.append("no card answers: nvidia-smi tells of none")
    for card in cards:
        said += _of_card(card)
    for model in models:
        said += _of_model(model, name, cpu=gpu.cpu)
    disk = facts["disk"]
    if disk["total"] and disk["free"] < _FULL * disk["total"]:
        said.append(f"the disk of the models is nearly full: {disk['free'] >> 30} GiB are free")
    metered = facts["metered"]
    if metered["error"]:
        said.append(f"the meter does not answer: {metered['error']}; put it right with: otobotctl gpu setup {name}")
    if metered["lost"]:
        said.append(f"the meter could not write {metered['lost']} lines: is the disk full?")
    requests = facts.get("requests", {})
    return GpuStatus(
        name,
        gpu.engine,
        facts["version"],
        cards,
        models,
        facts["memory"],
        disk,
        flights(metered["in_flight"], parallel),
        askers(metered),
        tuple(f"{name}: {each}" for each in said),
        requests.get("running"),
        requests.get("waiting"),
    )


def _of_card(card: Card) -> list[str]:
    said = []
    if card.trouble:
        said.append(f"{card.name} cannot be used: {card.trouble}; a boot may bring it back, or it has to be exchanged")
    if card.mig:
        said.append(f"{card.name} is cut in slices (MIG), of which one is used; nvidia-smi -mig 0 makes it whole")
    if card.celsius is not None and card.celsius >= _HOT:
        said.append(f"{card.name} is at {card.celsius:.0f} degrees")
    if card.errors:
        said.append(f"{card.name} has had {card.errors:.0f} memory errors that could not be corrected")
    return said


def _of_model(model: Model, host: str, *, cpu: bool) -> list[str]:
    if model.size_bytes is None:
        return [f"{model.name} is not there; fetch it with: otobotctl gpu models sync {host}"]
    if not cpu and model.loaded_bytes and (model.on_cards_bytes or 0) < model.loaded_bytes:
        aside = 1 - (model.on_cards_bytes or 0) / model.loaded_bytes
        return [f"{model.name} does not fit in the cards: {aside:.0%} of it is on the processor, which is slow"]
    return []


def _card(said: Mapping[str, Any]) -> Card:
    return Card(
        name=said["name"] or "a card",
        driver=said["driver_version"] or "",
        memory_mib=said["memory.total"],
        used_mib=said["memory.used"],
        use=said["utilization.gpu"],
        celsius=said["temperature.gpu"],
        watts=said["power.draw"],
        limit_watts=said["power.limit"],
        errors=said["ecc.errors.uncorrected.volatile.total"],
        trouble=said["trouble"],
        mig=said["mig.mode.current"] == "Enabled",
    )
