"""A manifest with nothing left unsaid: defaults and environments applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from otobotctl.manifest.gpu import name_of, served
from otobotctl.manifest.models import (
    Backup,
    Caller,
    Client,
    Defaults,
    Environment,
    Gpu,
    Host,
    Manifest,
    Operator,
    Settings,
)
from otobotctl.manifest.resolved import (
    Door,
    Peer,
    ResolvedBackup,
    ResolvedClient,
    ResolvedHost,
    ResolvedManifest,
    ResolvedOperator,
)

Archives = Mapping[str, Mapping[str, Backup]]  # by stack, then by environment

_NO_ARCHIVES: Archives = {}
_CHAT, _IA_PROXY = "librechat", "ia-proxy"
_BACKUP = Backup(
    schedule="daily", keep_daily=30, keep_weekly=12, keep_monthly=12, keep_yearly=7, before_deploy=True,
    targets={}, rpo_h=0, rto_min=30, drill_days=31, webhook="", mail="", pitr=False, pitr_days=7,
)  # fmt: skip
PERIODS_H: Mapping[str, int] = {"hourly": 1, "4-hourly": 4, "daily": 24, "weekly": 168, "monthly": 744, "never": 0}


def resolve(manifest: Manifest, archives: Archives = _NO_ARCHIVES, login: str | None = None) -> ResolvedManifest:
    """Apply the defaults and each client's environment. The manifest must have been checked, as `load` does.

    `archives` is what each stack says of backups in each environment; every word of the manifest wins over it.
    `login` is the account on every host of the person who is at work, instead of the manifest's.
    """
    return ResolvedManifest(
        company=manifest.company,
        recipients=manifest.recipients,
        hosts=_pooled({name: _host(name, host, manifest.defaults, login) for name, host in manifest.hosts.items()}),
        clients={slug: _client(slug, client, manifest, archives) for slug, client in manifest.clients.items()},
        operators={name: _operator(name, each, manifest.hosts) for name, each in manifest.operators.items()},
        roles=manifest.roles,
    )


def _operator(name: str, operator: Operator, hosts: Mapping[str, Host]) -> ResolvedOperator:
    everywhere = operator.hosts is None and operator.tags is None
    chosen = {
        host
        for host, each in hosts.items()
        if everywhere or host in (operator.hosts or ()) or {*each.tags} & {*(operator.tags or ())}
    }
    keys = tuple(key.strip() for key in operator.keys)
    sudo = operator.sudo and operator.role is None
    return ResolvedOperator(name, keys, sudo, tuple(host for host in hosts if host in chosen), operator.role)


def _host(name: str, host: Host, defaults: Defaults, login: str | None) -> ResolvedHost:
    return ResolvedHost(
        name=name,
        address=host.address,
        user=login or host.user,
        port=host.port,
        jump=host.jump,
        tags=host.tags,
        stack=host.stack,
        playbook=host.playbook or ("gpu" if host.gpu else "vps"),
        docker=host.docker or defaults.docker,
        gpu=_gpu(host.gpu, defaults) if host.gpu else None,
    )


def _gpu(gpu: Gpu, defaults: Defaults) -> Gpu:
    return msgspec.structs.replace(gpu, domain=name_of(gpu.domain), tls=gpu.tls or defaults.tls)


def _pooled(hosts: Mapping[str, ResolvedHost]) -> dict[str, ResolvedHost]:
    """The hosts, with those of one domain told of each other; who may ask one of them may ask all."""
    pools: dict[str, list[ResolvedHost]] = {}
    for host in hosts.values():
        if host.gpu:
            pools.setdefault(host.gpu.domain, []).append(host)
    found = dict(hosts)
    for pool in pools.values():
        if len(pool) > 1:
            peers = tuple(_peer(host) for host in pool)
            callers = _callers(host.gpu.callers for host in pool if host.gpu)
            for host in pool:
                gpu = msgspec.structs.replace(host.gpu, callers=callers) if host.gpu else None
                found[host.name] = msgspec.structs.replace(host, gpu=gpu, pool=peers)
    return found


def _peer(host: ResolvedHost) -> Peer:
    gpu = host.gpu
    if gpu is None:
        raise ValueError(f"{host.name} is no GPU host")
    return Peer(host.name, gpu.peer_address or host.address, gpu.engine, served(gpu.engine, gpu.models))


def _callers(said: Iterable[Mapping[str, Caller]]) -> dict[str, Caller]:
    """All callers with all their purposes; the first host's limit holds."""
    found: dict[str, Caller] = {}
    for callers in said:
        for slug, caller in callers.items():
            before = found.get(slug, caller)
            purposes = tuple(dict.fromkeys((*before.purposes, *caller.purposes)))
            found[slug] = msgspec.structs.replace(before, purposes=purposes)
    return found


def _client(slug: str, client: Client, manifest: Manifest, archives: Archives) -> ResolvedClient:
    defaults = manifest.defaults
    name = client.environment or defaults.environment
    environment = manifest.environments.get(name, Environment())
    stack = manifest.hosts[client.host].stack if client.host in manifest.hosts else ""
    said = (defaults.settings, environment.settings, client.settings)
    services = _first(client.services, environment.services, defaults.services)
    doors = _doors(slug, manifest)
    return ResolvedClient(
        slug=slug,
        company=client.company,
        email=client.email,
        host=client.host,
        domain=name_of(client.domain),
        index=client.index,
        environment=name,
        timezone=client.timezone or defaults.timezone,
        services=services,
        settings=_settings(services, (_of_ia(doors, manifest, said), *said)),
        tls=client.tls or environment.tls or defaults.tls,
        names=client.names or environment.names or defaults.names,
        users=client.users,
        hooks=next((said.hooks for said in (client, environment, defaults) if said.hooks is not None), ()),
        backup=_backup(slug, (client.backup, environment.backup, defaults.backup, archives.get(stack, {}).get(name))),
        ia=doors,
    )


def _doors(slug: str, manifest: Manifest) -> dict[str, Door]:
    """Where the client finds IA Interne, by purpose: the first host that lets it in."""
    found: dict[str, Door] = {}
    for host in manifest.hosts.values():
        if host.gpu and slug in host.gpu.callers:
            authority = host.gpu.settings.get(_IA_PROXY, {}).get("acme_ca")
            door = Door(name_of(host.gpu.domain), str(authority or ""))
            found = dict.fromkeys(host.gpu.callers[slug].purposes, door) | found
    return found


def _of_ia(doors: Mapping[str, Door], manifest: Manifest, said: tuple[Settings, ...]) -> Settings:
    """Where the client's LibreChat finds IA Interne, and which models are there.

    Who says which models to offer is offered those, and no others that happen to be there.
    """
    chosen = any("ai_models" in layer.get(_CHAT, {}) for layer in said)
    wired: dict[str, Any] = {"ai_fetch": False} if chosen else {}
    if door := doors.get(_CHAT):
        models = _models_at(door.domain, manifest)
        wired |= {"ai_url": door.url, **({"ai_models": models} if models else {})}
        wired |= {"ai_ca": door.authority} if door.authority else {}
    return {_CHAT: wired} if wired else {}


def _models_at(domain: str, manifest: Manifest) -> list[str]:
    """What callers may ask for there, whichever of its hosts has it."""
    gpus = [host.gpu for host in manifest.hosts.values() if host.gpu and name_of(host.gpu.domain) == domain]
    return list(dict.fromkeys(model for gpu in gpus for model in served(gpu.engine, gpu.models)))


def _first(*choices: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the first choice that was made; an empty tuple is a choice."""
    return next((choice for choice in choices if choice is not None), ())


def _settings(services: tuple[str, ...], layers: tuple[Settings, ...]) -> Settings:
    """Merge setting by setting: a later layer wins."""
    return {
        service: {name: value for layer in layers for name, value in layer.get(service, {}).items()}
        for service in services
    }


def _backup(slug: str, layers: tuple[Backup | None, ...]) -> ResolvedBackup:
    """Take each field from the first layer that says it."""
    said = [layer for layer in layers if layer is not None]
    chosen = {
        field: next(value for layer in (*said, _BACKUP) if (value := getattr(layer, field)) is not None)
        for field in Backup.__struct_fields__
    }
    chosen["rpo_h"] = chosen["rpo_h"] or PERIODS_H[chosen["schedule"]]
    chosen["targets"] = {
        name: msgspec.structs.replace(target, repository=target.repository.replace("{client}", slug))
        for name, target in chosen["targets"].items()
    }
    chosen["pitr"] = chosen["pitr"] and bool(chosen["targets"])  # the log has to go somewhere
    return ResolvedBackup(**chosen)
