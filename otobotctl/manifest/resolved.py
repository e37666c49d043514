"""The shapes of a manifest with nothing left unsaid; resolve.py makes them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from otobotctl.errors import ManifestError
from otobotctl.manifest.models import BackupTarget, CommandRole, Gpu, Hook, Settings, User


class ResolvedBackup(msgspec.Struct, frozen=True):
    """When archives are made, where they go and how many are kept.

    The repositories of `targets` are this client's own. `rpo_h` is what the schedule gives where nobody has promised
    anything else; 0: nothing is promised, because nothing is made by itself.
    """

    schedule: str
    keep_daily: int
    keep_weekly: int
    keep_monthly: int
    keep_yearly: int
    before_deploy: bool
    targets: Mapping[str, BackupTarget] = {}
    rpo_h: int = 0
    rto_min: int = 30
    drill_days: int = 31
    webhook: str = ""
    mail: str = ""
    pitr: bool = False
    pitr_days: int = 7

    @property
    def keep(self) -> dict[str, int]:
        """How many daily, weekly, monthly and yearly archives stay."""
        return {
            "daily": self.keep_daily,
            "weekly": self.keep_weekly,
            "monthly": self.keep_monthly,
            "yearly": self.keep_yearly,
        }


class Peer(msgspec.Struct, frozen=True):
    """One of several GPU hosts that answer at the same domain, and where the others reach it."""

    name: str
    address: str
    engine: str
    models: tuple[str, ...]


class ResolvedHost(msgspec.Struct, frozen=True):
    """A host with every field concrete. `jump` names another host of the manifest; `gpu` is IA Interne, if any.

    `pool` has the GPU hosts of its domain, itself among them; it is empty for the only one.
    """

    name: str
    address: str
    user: str
    port: int
    jump: str | None
    tags: tuple[str, ...]
    stack: str
    playbook: str
    docker: str
    gpu: Gpu | None = None
    pool: tuple[Peer, ...] = ()


class Door(msgspec.Struct, frozen=True):
    """Where a client finds IA Interne. `authority` are the root certificates (PEM) that it is trusted by."""

    domain: str
    authority: str = ""

    @property
    def url(self) -> str:
        """What an OpenAI-compatible caller takes as its base."""
        return f"https://{self.domain}/v1"


class ResolvedClient(msgspec.Struct, frozen=True):
    """A client with every field concrete.

    `index` is its slot on its host, unique there and unchanged when another client comes or goes. `settings` has an
    entry, perhaps empty, for each of its services and no other. `ia` has the purposes that IA Interne lets it in for.
    """

    slug: str
    company: str
    email: str
    host: str
    domain: str
    index: int
    environment: str
    timezone: str
    services: tuple[str, ...]
    settings: Settings
    tls: str
    users: tuple[User, ...]
    backup: ResolvedBackup
    names: str = "subdomains"
    hooks: tuple[Hook, ...] = ()
    ia: Mapping[str, Door] = {}


class ResolvedOperator(msgspec.Struct, frozen=True):
    """A person with an account of their own on some hosts; `hosts` has the names of those."""

    name: str
    keys: tuple[str, ...]
    sudo: bool
    hosts: tuple[str, ...]
    role: str | None = None


class ResolvedManifest(msgspec.Struct, frozen=True):
    """The fleet, concrete; hosts and clients in the file's order."""

    company: str
    recipients: tuple[str, ...]
    hosts: Mapping[str, ResolvedHost]
    clients: Mapping[str, ResolvedClient]
    operators: Mapping[str, ResolvedOperator] = {}
    roles: Mapping[str, CommandRole] = {}

    def client(self, slug: str) -> ResolvedClient:
        """Return the client, or raise ManifestError naming those that exist."""
        if slug in self.clients:
            return self.clients[slug]
        raise ManifestError(f'no client "{slug}" in this fleet', hint=_known("clients", slug, self.clients))

    def host(self, name: str) -> ResolvedHost:
        """Return the host, or raise ManifestError naming those that exist."""
        if name in self.hosts:
            return self.hosts[name]
        raise ManifestError(f'no host "{name}" in this fleet', hint=_known("hosts", name, self.hosts))

    def clients_of(self, host: str) -> tuple[ResolvedClient, ...]:
        """Return the clients of a host, in the file's order."""
        return tuple(client for client in self.clients.values() if client.host == host)

    def operators_of(self, host: str) -> tuple[ResolvedOperator, ...]:
        """Return who has an account of their own on a host, in the file's order."""
        return tuple(operator for operator in self.operators.values() if host in operator.hosts)


def _known(what: str, name: str, known: Mapping[str, object]) -> str:
    if not known:
        return f"the fleet has no {what} yet"
    from difflib import get_close_matches

    close = get_close_matches(name, known, n=1)
    return f'did you mean "{close[0]}"?' if close else f"{what}: {', '.join(known)}"
