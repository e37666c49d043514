"""`host facts`, `plan`, `apply` and `client diff`, `deploy`, `destroy`: the fleet's word made true on a host."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl import person
from otobotctl.errors import StepFailedError
from otobotctl.transport.local import LOCAL, LocalDoor
from otobotctl.transport.ssh import open_door
from otobotctl.workflows import peers, secrets
from otobotctl.workflows.desired import Desired, Loaded, desired, load, warnings
from otobotctl.workflows.hosts import target

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Observation, Password
    from otobotctl.fleet import Fleet
    from otobotctl.plan.model import Change, Stage, StagePlan, Step
    from otobotctl.transport.base import Door, Opener

BACKUP = "backup"  # the stage of that name


@dataclass(frozen=True)
class HostFacts:
    """A host's answers, by step name."""

    host: str
    boot_id: str
    facts: dict[str, Any]


@dataclass(frozen=True)
class PlanRow:
    """One step that differs. `commands` are what an operator would type; no secret is in any field."""

    name: str
    kind: str
    title: str
    changes: tuple[Change, ...]
    commands: tuple[str, ...]


@dataclass(frozen=True)
class HostPlan:
    """What an apply would change."""

    host: str
    looked_at: int
    steps: tuple[PlanRow, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class HostRun:
    """What an apply did. `executions` counts remote executions, looking included."""

    host: str
    executions: int
    changed: tuple[str, ...]
    took_s: float
    warnings: tuple[str, ...] = ()


def facts(fleet: Fleet, name: str, password: Password | None = None) -> HostFacts:
    """Ask a host every question of its playbook."""
    from otobotctl.converge import engine

    loaded = load(fleet)
    wanted = desired_of(loaded, name)
    steps = [step for stage in wanted.stages for step in stage.steps]
    seen = engine.observe(opener(loaded, name), wanted.stages, password=password)
    answers = {
        step.name: dict(answer.facts) if answer.facts is not None else {"error": answer.error}
        for step, answer in zip(steps, seen.answers, strict=True)
    }
    return HostFacts(name, seen.boot_id, answers)


def plan(fleet: Fleet, name: str, password: Password | None = None) -> HostPlan:
    """What an apply would change on a host; changes nothing."""
    return plan_loaded(load(fleet), name, password)


def plan_loaded(loaded: Loaded, name: str, password: Password | None = None) -> HostPlan:
    """What an apply would change on a host of a fleet that is read already."""
    from otobotctl.converge import early

    with early.reaching(opener(loaded, name), with_password=password is not None) as reached:
        return _plan(reached, loaded, desired_of(loaded, name), password)


def plan_client(fleet: Fleet, slug: str, password: Password | None = None) -> HostPlan:
    """What a deploy would change of a client's own release."""
    loaded = load(fleet)
    wanted = desired_of(loaded, loaded.manifest.client(slug).host)
    reached = opener(loaded, wanted.host)
    return _plan(reached, loaded, replace(wanted, stages=_only(wanted.stages, slug)), password)


def apply(fleet: Fleet, name: str, listener: Listener, password: Password | None = None) -> HostRun:
    """Make a host what the fleet says; missing secrets of its clients are minted first."""
    return apply_loaded(load(fleet), name, listener, password)


def apply_loaded(loaded: Loaded, name: str, listener: Listener, password: Password | None = None) -> HostRun:
    """Make a host what a fleet says that is read already; missing secrets of its clients are minted first."""
    from otobotctl.converge import early

    with early.reaching(opener(loaded, name), with_password=password is not None) as reached:
        host = loaded.manifest.host(name)
        secrets.mint_for(loaded, host)
        peers.mint(loaded, host)
        done = converge(reached, desired_of(loaded, name), listener, password)
    return replace(done, warnings=(*warnings(loaded, loaded.manifest.clients_of(name)), *done.warnings))


def deploy(
    fleet: Fleet, slug: str, listener: Listener, password: Password | None = None, *, force: bool = False
) -> HostRun:
    """Bring a client, and the host below it, to what the fleet says.

    With `force` its services may go back to older versions, which may not read the data they find.
    """
    loaded = load(fleet)
    if force:
        loaded = replace(loaded, forced=frozenset({slug}))
    return apply_loaded(loaded, loaded.manifest.client(slug).host, listener, password)


def destroy(
    fleet: Fleet, slug: str, listener: Listener, password: Password | None = None, *, volumes: bool = False
) -> HostRun:
    """Take a client's project off its host, and then its sites from the host's proxy."""
    from otobotctl.plan.kinds.compose_release import ComposeReleaseSpec
    from otobotctl.plan.model import Stage, Step
    from otobotctl.render import layout

    loaded = load(fleet)
    name = loaded.manifest.client(slug).host
    wanted = desired_of(loaded, name, without=slug)

    def absent(client: str, *, with_volumes: bool) -> Step:
        gone = ComposeReleaseSpec(
            client=client, project=layout.project(client), state="absent", remove_volumes=with_volumes
        )
        return Step(f"destroy/{client}", gone)

    # The proxy lets go of the client's network first; a proxy without any client left goes too.
    front = tuple(stage for stage in wanted.stages if stage.name in {"front", "certificates"})
    # Its timers go before all else: what they start would find less and less.
    timers = tuple(replace(stage, steps=_not_of_others(stage, slug)) for stage in wanted.stages if stage.name == BACKUP)
    steps: tuple[Step, ...] = (absent(slug, with_volumes=volumes),)
    if not any(stage.name == "front" for stage in front):
        steps = (absent(layout.FRONT, with_volumes=False), *steps)
    stages = (*timers, *front, Stage("destroy", steps))
    return converge(opener(loaded, name), replace(wanted, stages=stages), listener, password)


def desired_of(loaded: Loaded, name: str, *, without: str | None = None) -> Desired:
    """What a host should be, with the secrets of its clients; `without` one of them."""
    host = loaded.manifest.host(name)
    if without is not None:
        kept = {other: client for other, client in loaded.manifest.clients.items() if other != without}
        loaded = replace(loaded, manifest=msgspec.structs.replace(loaded.manifest, clients=kept))
    stores = {client.slug: secrets.opened(loaded, client.slug) for client in loaded.manifest.clients_of(host.name)}
    if host.gpu:  # those who may ask IA Interne live elsewhere
        stores |= {slug: secrets.known(loaded, slug) for slug in host.gpu.callers if slug not in stores}
    keys = peers.known(loaded, host) if host.pool else {}
    return desired(loaded, host.name, stores, () if without is None else (without,), keys, peers.token(loaded, host))


def _not_of_others(stage: Stage, slug: str) -> tuple[Step, ...]:
    """The steps of a stage that are this client's, or nobody's."""
    return tuple(step for step in stage.steps if getattr(step.spec, "client", slug) == slug)


def _only(stages: Iterable[Stage], slug: str) -> tuple[Stage, ...]:
    """The stages' steps that are a client's own release."""
    kept = []
    for stage in stages:
        steps = tuple(step for step in stage.steps if getattr(step.spec, "client", None) == slug)
        if steps:
            kept.append(replace(stage, steps=steps))
    return tuple(kept)


def _plan(reached: Opener, loaded: Loaded, wanted: Desired, password: Password | None) -> HostPlan:
    from otobotctl.converge import engine

    plans = engine.observe_host(reached, wanted.stages, password=password)
    return HostPlan(
        wanted.host,
        sum(len(stage.steps) for stage in wanted.stages),
        tuple(row for each in plans for row in rows(each)),
        (
            *warnings(loaded, loaded.manifest.clients_of(wanted.host)),
            *(note for each in plans for note in each.notes),
        ),
    )


def rows(found: StagePlan) -> Iterable[PlanRow]:
    """A stage's plan as it is shown."""
    for planned in found.steps:
        spec = planned.step.spec
        yield PlanRow(planned.step.name, spec.kind, spec.title(), planned.changes, spec.commands())


def converge(reached: Opener, wanted: Desired, listener: Listener, password: Password | None) -> HostRun:
    """Make a host what `wanted` says."""
    from otobotctl.converge import engine

    started = time.monotonic()
    who = person.name()
    done = engine.converge_host(reached, wanted.stages, who=who, mask=wanted.mask, listener=listener, password=password)
    return HostRun(wanted.host, done.executions, done.changed, round(time.monotonic() - started, 3), done.notes)


def opener(loaded: Loaded, name: str) -> Callable[[], Door]:
    """What opens a door to a host."""
    if loaded.manifest.host(name).address == LOCAL:
        return lambda: LocalDoor(name)
    where = target(loaded, name)
    return lambda: open_door(where)


def told(seen: Observation, host: str, what: str = "") -> Mapping[str, Any]:
    """The facts that answer an observation's one question. Raises StepFailedError: the host cannot tell them."""
    (answer,) = seen.answers
    if answer.facts is None:
        subject = f"{host}: {what} cannot be told" if what else f"{host} cannot be looked at"
        raise StepFailedError(f"{subject}: {answer.error}", hint=f"otobotctl doctor {host}")
    return answer.facts
