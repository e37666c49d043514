"""The hosts of IA Interne: set up, and what they are asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl import manifest
from otobotctl.errors import UsageError
from otobotctl.manifest.gpu import STACK
from otobotctl.plan.kinds.ollama_model import OLLAMA
from otobotctl.render.catalog import load_catalog
from otobotctl.render.ia import ENGINES
from otobotctl.workflows import converging
from otobotctl.workflows.desired import load
from otobotctl.workflows.gpu.telling import POOL, tell_of

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.manifest.models import Gpu
    from otobotctl.workflows.converging import HostRun
    from otobotctl.workflows.desired import Loaded


_INHERITED = ("tls", "callers")
_DEFAULT = ("engine", ENGINES[0])  # not written
URLS: Mapping[str, str] = {"ollama": OLLAMA, "vllm": "http://127.0.0.1:8000"}  # on the host itself


@dataclass(frozen=True)
class Said:
    """What an operator says of IA Interne on a host; None or empty: as the manifest says already."""

    domain: str | None = None
    email: str | None = None
    tls: str | None = None
    cpu: bool | None = None
    models: tuple[str, ...] = ()
    engine: str | None = None


def setup(fleet: Fleet, name: str, said: Said, listener: Listener, password: Password | None = None) -> HostRun:
    """Write what is said into the manifest, and make the host so. Safe to run again; what is done is not done again.

    Hosts that answer at the same domain are told of it; one that cannot be is named in the warnings.

    Raises:
        UsageError: no such host, its clients have more than their chat there, or nobody has said its domain or e-mail
            address yet.
    """
    loaded = load(fleet)
    host = loaded.manifest.host(name)
    _refuse_others(loaded, name)
    entry = merged(host.gpu, said)
    if host.gpu:  # what it has from the defaults, or from other hosts of its name, is not its own to say
        own = {**written(loaded, name), **({"tls": said.tls} if said.tls else {})}
        entry = {key: own.get(key) if key in _INHERITED else value for key, value in entry.items()}
        entry = {key: value for key, value in entry.items() if value is not None}
    missing = [key for key in ("domain", "email") if not entry.get(key)]
    if missing:
        shown = "--domain ia.otobot.example --email it@otobot.example"
        raise UsageError(f"nobody has said the {missing[0]} yet", hint=f"otobotctl gpu setup {name} {shown}")
    change(fleet, name, entry)
    # The others of its name first: the authority may ask one of them for the answer that this host has.
    said_of = tell_of(load(fleet), name, POOL, listener, password, itself=False)
    done = converging.apply(fleet, name, listener, password)
    return replace(done, warnings=(*done.warnings, *said_of))


def _refuse_others(loaded: Loaded, name: str) -> None:
    """A client may have its LibreChat beside IA Interne; what needs a proxy of its own may not be there."""
    known = loaded.catalog.stack(STACK).services
    for client in loaded.manifest.clients_of(name):
        others = [service for service in client.services if service not in known]
        if others:
            raise UsageError(
                f"{client.slug} has {', '.join(others)} on {name}, and beside IA Interne run only {', '.join(known)}",
                hint=f"another host for IA Interne, or for {client.slug}: otobotctl host add",
            )


def merged(gpu: Gpu | None, said: Said) -> dict[str, Any]:
    """The manifest's entry with what is said over it; models are added to those that are there, of the same engine.

    vLLM has one model: another one takes its place.
    """
    entry: dict[str, Any] = msgspec.to_builtins(gpu) if gpu else {}
    entry = {key: value for key, value in entry.items() if value not in (None, "", {}, [])}
    over = {"domain": said.domain, "email": said.email, "tls": said.tls, "cpu": said.cpu, "engine": said.engine}
    before = gpu.engine if gpu else ENGINES[0]
    entry |= {key: value for key, value in over.items() if value is not None}
    anew = (said.engine or before) != before or (bool(said.models) and (said.engine or before) == "vllm")
    kept = () if anew else entry.get("models", ())
    models = list(dict.fromkeys((*kept, *said.models)))
    return {**entry, "models": models} if models or anew else entry


def change(fleet: Fleet, name: str, entry: Mapping[str, Any]) -> bool:
    """Write a host's `gpu` into the manifest; return whether that changed it. Raises ManifestError."""
    shown = {key: value for key, value in entry.items() if value is not False and (key, value) != _DEFAULT}
    return manifest.set_host(fleet.manifest, name, {"stack": STACK, "gpu": shown}, load_catalog().service_shapes())


def gpu_of(loaded: Loaded, name: str) -> Gpu:
    """What the manifest says of IA Interne on a host. Raises UsageError where it says nothing."""
    found = loaded.manifest.host(name).gpu
    if found is None:
        known = ", ".join(named(loaded)) or "none yet"
        raise UsageError(f"{name} is no GPU host", hint=f"the GPU hosts are: {known}; otobotctl gpu setup {name} ...")
    return found


def place(gpu: Gpu) -> dict[str, str]:
    """What the agent has to know to ask the engine of a host: its name and its address there."""
    return {"engine": gpu.engine, "url": URLS[gpu.engine]}


def named(loaded: Loaded) -> tuple[str, ...]:
    """The GPU hosts of the fleet."""
    return tuple(name for name, host in loaded.manifest.hosts.items() if host.gpu)


def written(loaded: Loaded, name: str) -> dict[str, Any]:
    """The manifest's own entry of a host's `gpu`, without defaults, to be changed and written back."""
    from otobotctl.manifest import document

    parsed = document.parse(document.read(loaded.fleet.manifest), loaded.fleet.manifest.name)
    return dict(parsed["hosts"][name]["gpu"])


def looked(loaded: Loaded, name: str, password: Password | None = None) -> Mapping[str, Any]:
    """What the host tells of itself (agent/kinds/gpu_status.py). Raises StepFailedError when it cannot look."""
    return asked(loaded, name, "gpu_status", place(gpu_of(loaded, name)), password)


def asked(
    loaded: Loaded, name: str, kind: str, params: Mapping[str, Any], password: Password | None = None
) -> Mapping[str, Any]:
    """What the host answers to one question, in one execution. Raises StepFailedError when it cannot tell."""
    from otobotctl.converge import engine

    question: Any = {"kind": kind, "params": params}
    return converging.told(engine.ask(converging.opener(loaded, name), [question], password=password), name)
