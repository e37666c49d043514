"""`client create`, `list`, `show`, `remove`: the manifest's side of a client."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl import manifest
from otobotctl.render.catalog import load_catalog
from otobotctl.render.client import published_ports
from otobotctl.render.names import place_of
from otobotctl.render.settings import settings_for
from otobotctl.workflows.desired import load, warnings
from otobotctl.workflows.secrets import mint

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet
    from otobotctl.manifest import ResolvedClient


@dataclass(frozen=True)
class NewClient:
    """What an operator says of a new client; None or empty: the manifest's defaults."""

    slug: str
    company: str
    email: str
    host: str
    domain: str
    services: tuple[str, ...] = ()
    environment: str | None = None
    tls: str | None = None

    def entry(self) -> dict[str, Any]:
        """The client's entry in the manifest."""
        said: dict[str, Any] = {
            "company": self.company,
            "email": self.email,
            "host": self.host,
            "domain": self.domain,
            "environment": self.environment,
            "services": list(self.services) or None,
            "tls": self.tls,
        }
        return {key: value for key, value in said.items() if value is not None}


@dataclass(frozen=True)
class Created:
    """A client that is in the manifest, its secrets minted."""

    slug: str
    host: str
    domain: str
    new: bool
    minted: tuple[str, ...]
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class Guides:
    """What only a person can do for a client, by service."""

    client: str
    guides: dict[str, str]


@dataclass(frozen=True)
class Removed:
    """A client that left the manifest; `kept` still holds its sealed secrets."""

    slug: str
    kept: str


def create(fleet: Fleet, wanted: NewClient) -> Created:
    """Add a client and mint its secrets. The same call again finishes what a crash left undone."""
    new = manifest.add_client(fleet.manifest, wanted.slug, wanted.entry(), load_catalog().service_shapes())
    loaded = load(fleet)
    client = loaded.manifest.client(wanted.slug)
    minted = mint(loaded, client.slug)
    return Created(client.slug, client.host, client.domain, new, minted, warnings(loaded, (client,)))


def listed(fleet: Fleet) -> tuple[ResolvedClient, ...]:
    """Every client, defaults applied."""
    return tuple(load(fleet).manifest.clients.values())


def shown(fleet: Fleet, slug: str) -> dict[str, Any]:
    """One client with every default applied, also its stack's: what its services' settings come to, and its ports."""
    loaded = load(fleet)
    client = loaded.manifest.client(slug)
    stack = loaded.catalog.stack(loaded.manifest.host(client.host).stack)
    services = [loaded.catalog.service(name) for name in client.services]
    said: dict[str, Any] = msgspec.to_builtins(client)
    settings = {service.name: settings_for(service, client, stack) for service in services}
    ports = {
        f"{service.name}.{name}": f"127.0.0.1:{port}"
        for service in services
        for name, port in published_ports(client, service, stack).items()
    }
    urls = {service.name: place_of(client, service).url for service in services if service.routes}
    return {**said, "settings": settings, "ports": ports, "urls": urls}


def guide(fleet: Fleet, slug: str) -> Guides:
    """The exact steps that no command can take, with the client's own names in them."""
    from otobotctl.render.client import guides

    loaded = load(fleet)
    client = loaded.manifest.client(slug)
    return Guides(slug, guides(client, loaded.manifest.host(client.host), loaded.catalog))


def remove(fleet: Fleet, slug: str) -> Removed:
    """Take a client out of the manifest."""
    load(fleet).manifest.client(slug)
    manifest.remove_client(fleet.manifest, slug)
    return Removed(slug, str(fleet.client(slug)))
