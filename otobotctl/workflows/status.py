"""`status`: how every host and client is, one remote execution a host; nothing is changed anywhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl import secrets
from otobotctl.errors import HostUnreachableError, ManifestError, OtobotError
from otobotctl.render import layout
from otobotctl.render.client import render_client
from otobotctl.render.front import front_clients, render_front
from otobotctl.render.sites import names_of
from otobotctl.secrets import policy
from otobotctl.workflows import certificates, fleetwide, judging
from otobotctl.workflows.converging import opener, told
from otobotctl.workflows.desired import load
from otobotctl.workflows.parallel import Limits, Outcome, each_host
from otobotctl.workflows.secrets import opened

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Observation, Password
    from otobotctl.fleet import Fleet
    from otobotctl.manifest import ResolvedClient, ResolvedHost
    from otobotctl.workflows.desired import Loaded
    from otobotctl.workflows.selection import Selection

_DUE_DAYS = 14.0  # a secret is told of so long before its time


@dataclass(frozen=True)
class DueSecret:
    """A secret whose time has come or comes soon; `days` is negative when it is overdue."""

    name: str
    days: float


@dataclass(frozen=True)
class Release:
    """A client (or the host's proxy) on its host.

    `release` is the number, None when nothing is deployed; `matches` whether its digest is that of what would be
    deployed (None: not to be told without the secrets' key); `services` are states, `trouble` those that are not well.
    `archive` is the note of the last one (agent/notes.py: newest) with its age_s; None: never; {}: none is needed.
    """

    client: str
    release: int | None
    matches: bool | None
    services: Mapping[str, str]
    trouble: Mapping[str, str]
    certificate_days: float | None = None
    certificate: str = ""  # "", self-signed (where that is meant), or what is wrong with it
    secrets_due: tuple[DueSecret, ...] = ()
    archive: Mapping[str, Any] | None = None
    certificate_issuer: str = ""
    certificate_due: bool = False  # it should have been renewed by now


@dataclass(frozen=True)
class HostStatus:
    """One host. `state`: well, attention, unreachable or failed (it could not be asked); `attention` says why.

    `machine` is what agent/machine.py answers (bytes, seconds); `last` the newest run there, if any: LastRun of
    agent/protocol.py.
    """

    host: str
    address: str
    state: str
    attention: tuple[str, ...] = ()
    machine: Mapping[str, Any] | None = None
    releases: tuple[Release, ...] = ()
    last: Mapping[str, Any] | None = None
    error: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Status:
    """The fleet at one moment, `at` (UTC, ISO 8601); `warnings` of the versions on these hosts."""

    at: str
    company: str
    hosts: tuple[HostStatus, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wanted:
    """What a host is compared with: a digest for each release (None: cannot be told here), host names by release."""

    host: ResolvedHost
    digests: Mapping[str, str | None]
    names: Mapping[str, tuple[str, ...]]


def status(
    fleet: Fleet, selection: Selection, limits: Limits, listener: Listener, password: Password | None = None
) -> tuple[Status, OtobotError | None]:
    """How hosts are now; also the error that those which could not be asked amount to, if any."""
    loaded = load(fleet)
    names = selection.of(loaded.manifest)
    outcomes = each_host(names, lambda name, _: _host(loaded, name, password), limits, listener)
    hosts = tuple(_shown(loaded, each) for each in outcomes)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return Status(at, loaded.manifest.company, hosts, fleetwide.warnings_of(loaded, names)), fleetwide.failure(outcomes)


def _shown(loaded: Loaded, outcome: Outcome[HostStatus]) -> HostStatus:
    if outcome.result is not None:
        return outcome.result
    error = outcome.error or OtobotError("not asked")
    address = loaded.manifest.host(outcome.host).address
    state = "unreachable" if isinstance(error, HostUnreachableError) else "failed"
    return HostStatus(outcome.host, address, state, (error.message,), error=error.told())


def _host(loaded: Loaded, name: str, password: Password | None) -> HostStatus:
    from otobotctl.converge import early, engine

    with early.reaching(opener(loaded, name), with_password=password is not None) as reached:
        wanted = _wanted(loaded, name)
        params = {
            "projects": {client: layout.project(client) for client in wanted.digests},
            "names": [each for names in wanted.names.values() for each in names],
        }
        found = engine.ask(reached, [{"kind": "host_status", "params": params}], password=password)
    return _judged(loaded, name, wanted, told(found, name), found)


def _judged(loaded: Loaded, name: str, wanted: _Wanted, facts: Mapping[str, Any], found: Observation) -> HostStatus:
    now = time.time()
    releases = tuple(_release(loaded, client, wanted, facts, now) for client in wanted.digests)
    machine = {key: value for key, value in facts.items() if key not in {"releases", "certificates"}}
    last = dict(found.last) if found.last else None
    attention = judging.attention(machine, releases, last)
    state = "attention" if attention else "well"
    return HostStatus(name, loaded.manifest.host(name).address, state, attention, machine, releases, last)


def _release(loaded: Loaded, client: str, wanted: _Wanted, facts: Mapping[str, Any], now: float) -> Release:
    found, digest = facts["releases"][client], wanted.digests[client]
    shown = [facts["certificates"][name] for name in wanted.names.get(client, ())]
    acme, caddy = _source(loaded, wanted.host, client)
    certificate = certificates.judged(shown, now, acme=acme, caddy=caddy)
    return Release(
        client,
        found["current"],
        None if digest is None else found["digest"] == digest,
        found["services"],
        found["trouble"],
        certificate.days,
        certificate.words,
        () if client == layout.FRONT else secrets_due(loaded, client, now),
        {} if client == layout.FRONT else _archive(found.get("archive"), now),
        certificate.issuer,
        certificate.due,
    )


def _source(loaded: Loaded, host: ResolvedHost, release: str) -> tuple[bool, bool]:
    """Whether the certificates of a release's names are meant to come by ACME, and whether a Caddy asks for them."""
    if release == layout.FRONT:
        return host.gpu is not None and host.gpu.tls == "acme", host.gpu is not None
    client = loaded.manifest.client(release)
    return client.tls == "acme", "caddy" in client.services or host.gpu is not None


def _archive(note: Mapping[str, Any] | None, now: float) -> Mapping[str, Any] | None:
    return None if note is None else {**note, "age_s": round(now - note["made"])}


def secrets_due(loaded: Loaded, client: str, now: float) -> tuple[DueSecret, ...]:
    """A client's secrets that are to be rotated now or soon, the most urgent first; needs no key."""
    if client not in loaded.manifest.clients:
        return ()
    specs = loaded.catalog.specs_of(loaded.manifest.client(client))
    try:
        known = secrets.read_metadata(loaded.fleet.client(client))
    except ManifestError:
        return ()
    found = policy.standings(client, known, specs, datetime.fromtimestamp(now, UTC))
    due = [
        DueSecret(each.name, round(each.left_days, 1))
        for each in found
        if each.left_days is not None and each.left_days <= _DUE_DAYS and each.state not in {"missing", "kept"}
    ]
    return tuple(sorted(due, key=lambda each: each.days))


def _wanted(loaded: Loaded, name: str) -> _Wanted:
    host, clients = loaded.manifest.host(name), loaded.manifest.clients_of(name)
    digests: dict[str, str | None] = {client.slug: _digest(loaded, client) for client in clients}
    front = render_front(host, clients, loaded.catalog)
    if front is not None:
        digests[layout.FRONT] = front.digest
    served = front_clients(host, clients, loaded.catalog)
    names = {client.slug: names_of(client, host, loaded.catalog) for client in served}
    return _Wanted(host, digests, {**names, **({layout.FRONT: (host.gpu.domain,)} if host.gpu else {})})


def _digest(loaded: Loaded, client: ResolvedClient) -> str | None:
    """The digest of what would be deployed; None where the secrets cannot be opened here: status needs no key."""
    try:
        values = opened(loaded, client.slug)
    except ManifestError:
        return None
    return render_client(client, loaded.manifest.host(client.host), client.index, values, loaded.catalog).digest
