"""Everything that is to be known of a host, in one remote execution, and beside it what its visitors see."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otobotctl import secrets
from otobotctl.doctor import report
from otobotctl.doctor.model import Case, Handshake, Outside, Query
from otobotctl.doctor.wanted import wanted
from otobotctl.errors import HostKeyError, HostUnreachableError, ManifestError
from otobotctl.plan.stage import plan_stage
from otobotctl.plan.stage import questions as questions_of
from otobotctl.render import layout
from otobotctl.transport.local import LOCAL
from otobotctl.workflows.converging import opener
from otobotctl.workflows.desired import of_host, playbook_path
from otobotctl.workflows.status import secrets_due

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otobotctl.agent.protocol import Question
    from otobotctl.converge.model import Observation, Password
    from otobotctl.plan.model import PlannedStep, Stage
    from otobotctl.workflows.desired import Loaded

_MOST_PORTS = 256
_PUBLIC = (80, 443)


def case_of(loaded: Loaded, name: str, clients: Sequence[str] = (), password: Password | None = None) -> Case:
    """What is known of a host now; `clients`: only these of its clients (none: all). A host's faults raise nothing."""
    from otobotctl.converge import early, engine

    host, every = loaded.manifest.host(name), loaded.manifest.clients_of(name)
    chosen = tuple(each for each in every if not clients or each.slug in clients)
    now = time.time()
    due = {each.slug: tuple((one.name, one.days) for one in secrets_due(loaded, each.slug, now)) for each in chosen}
    turns = {each.slug: _turns(loaded, each.slug) for each in chosen}
    case = Case(host, chosen, loaded.catalog, replace(wanted(host, chosen, loaded.catalog, turns), due=due), now)
    stages, asked = hardening(loaded, name), report.queries(chosen)
    questions = [each for stage in stages for each in questions_of(stage)]
    try:
        with early.reaching(opener(loaded, name), with_password=password is not None) as reached:
            started = time.time()
            found = engine.ask(reached, [*questions, _question(case, asked)], password=password)
            ended = time.time()
    except (HostUnreachableError, HostKeyError) as error:
        case = replace(case, unreachable=error.message, remedy=error.hint or "")
    else:
        case = _filled(case, found, stages, asked, (started, ended))
    return replace(case, outside=_outside(case)) if host.address != LOCAL and not host.jump else case


def _turns(loaded: Loaded, slug: str) -> Mapping[str, int]:
    """Which of a role's two logins has each password, as far as that can be told without a key."""
    try:
        return {known.name: known.turn for known in secrets.read_metadata(loaded.fleet.client(slug))}
    except ManifestError:
        return {}


def hardening(loaded: Loaded, name: str) -> tuple[Stage, ...]:
    """The stages of a host's playbook that come before its clients: what needs no secret."""
    from otobotctl.plan.playbook import load_playbook

    host = loaded.manifest.host(name)
    # What else a playbook may name comes from clients and their secrets, and in later stages.
    nothing: dict[str, Any] = {"clients": [], "front": None, "images": [], "backups": [], "backup_packages": []}
    variables = {**nothing, **of_host(loaded, name), "ia_keys": ""}
    kept: list[Stage] = []
    for stage in load_playbook(playbook_path(host.playbook), variables):
        if any(step.spec.kind == "login" for step in stage.steps):
            break
        kept.append(stage)
    return tuple(kept)


def _question(case: Case, asked: tuple[Query, ...]) -> Question:
    projects = {each.slug: layout.project(each.slug) for each in case.clients}
    if layout.FRONT in case.wanted.images:
        projects[layout.FRONT] = layout.project(layout.FRONT)
    return {
        "kind": "doctor",
        "params": {
            "projects": projects,
            "names": [name for names in case.wanted.names.values() for name in names],
            "logins": [
                {
                    "project": layout.project(each.client),
                    "engine": each.engine,
                    "server": each.server,
                    "role": each.role,
                    "database": each.database,
                    "holder": each.holder,
                    "variable": each.variable,
                    "user": each.user,
                }
                for each in case.wanted.logins
            ],
            "queries": [
                {"project": layout.project(each.client), "database": each.database, "sql": each.sql} for each in asked
            ],
            "marks": report.marks(),
        },
    }


def _filled(
    case: Case, found: Observation, stages: tuple[Stage, ...], asked: tuple[Query, ...], when: tuple[float, float]
) -> Case:
    *answers, last = found.answers
    if last.facts is None:
        return replace(
            case, unreachable=f"it could not look: {last.error}", remedy=f"otobotctl status {case.host.name}"
        )
    facts, (started, ended) = last.facts, when
    # The agent answers last of all, so its clock was read nearer to the end; the doubt covers the whole way.
    return replace(
        case,
        facts=facts,
        last=dict(found.last) if found.last else None,
        answers={query: _rows(answer) for query, answer in zip(asked, facts["queries"], strict=True)},
        drift=_drift(stages, [answer.facts for answer in answers]),
        clock_s=facts["time"] - (started + ended) / 2,
        doubt_s=(ended - started) / 2,
    )


def _rows(answer: Mapping[str, Any]) -> tuple[tuple[str, ...], ...] | str:
    if "rows" not in answer:
        return str(answer.get("error", ""))
    return tuple(tuple(row) for row in answer["rows"])


def _drift(stages: tuple[Stage, ...], facts: Sequence[Mapping[str, Any] | None]) -> tuple[PlannedStep, ...]:
    differs: list[PlannedStep] = []
    at = 0
    for stage in stages:
        seen = facts[at : at + len(stage.steps)]
        at += len(stage.steps)
        differs += [step for step in plan_stage(stage, seen).steps if step.seen]  # what cannot be looked at is no drift
    return tuple(differs)


def _outside(case: Case) -> Outside:
    from otobotctl.transport import outside

    names = [name for each in case.wanted.names.values() for name in each]
    resolved = outside.resolve([*names, case.host.address])
    targets = _targets(resolved.pop(case.host.address) or (), case.facts)
    ports = outside.ports((address, port) for address in targets for port in _ports(case))
    open_here = [address for address in targets if ports.get((address, 443))]
    shown = tuple(
        Handshake(name, address, one.error, one.distrust)
        for address in open_here
        for name in names
        for one in (outside.handshake(name, address),)
    )
    return Outside(targets, resolved, ports, shown)


def _targets(resolved: Iterable[str], facts: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Where the host is looked at: where the manifest says it is, and its own IPv6 addresses that we may reach."""
    from otobotctl.transport import outside

    own = (each for each in (facts or {}).get("addresses", ()) if ":" in each)
    return tuple(dict.fromkeys((*resolved, *(each for each in own if outside.near(each)))))


def _ports(case: Case) -> tuple[int, ...]:
    """SSH and the proxy, and what might wrongly answer: whatever listens, is published, or could be by a service."""
    facts = case.facts or {}
    served = {port for services in case.wanted.ports.values() for ports in services.values() for port in ports}
    known = {port.base for each in case.catalog.services.values() for port in each.ports.values() if port.base}
    seen = {port for _, port in facts.get("listening", ())}
    published = {port for each in facts.get("containers", ()) for _, port in each["published"]}
    others = sorted((served | known | seen | published) - {*_PUBLIC, case.host.port})
    return (case.host.port, *_PUBLIC, *others[:_MOST_PORTS])
