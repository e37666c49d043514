"""What a proxy serves of a client: its host names, and what answers under each of their paths."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl.errors import ManifestError
from otobotctl.render import names
from otobotctl.render.client import alias, services_of

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient, ResolvedHost
    from otobotctl.render.catalog import Catalog


def names_of(client: ResolvedClient, host: ResolvedHost, catalog: Catalog) -> tuple[str, ...]:
    """Return every host name of the client, its domain first: what its certificate must cover."""
    return tuple(site["name"] for site in _sites(client, host, catalog))


def described(client: ResolvedClient, host: ResolvedHost, catalog: Catalog) -> dict[str, Any]:
    """Return a client as a proxy's templates see it: who it is, and its sites. Raises ManifestError."""
    if not re.fullmatch(r"[A-Za-z0-9.-]+", client.domain):  # it becomes a path and a word of nginx's language
        raise ManifestError(f"clients.{client.slug}.domain: {client.domain!r} is not a domain name")
    sites = _sites(client, host, catalog)
    # A network that none of its containers uses is never made, and waiting for it would stop the proxy.
    edge = any("edge" in service.networks for service in services_of(client, host, catalog))
    fields = {name: getattr(client, name) for name in ("slug", "company", "email", "domain", "tls", "environment")}
    return {**fields, "sites": sites, "names": [site["name"] for site in sites], "edge": edge}


def _sites(client: ResolvedClient, host: ResolvedHost, catalog: Catalog) -> list[dict[str, Any]]:
    """Return one site a host name: the client's domain, which has a page of its own, and one for each subdomain."""
    routes: dict[str, list[dict[str, Any]]] = {"": []}
    for service in services_of(client, host, catalog):
        for number, route in enumerate(service.routes):
            where = names.routed(client, service, route)
            routes.setdefault(where["subdomain"], []).append(
                {
                    **msgspec.structs.asdict(route),
                    **where,
                    "upstream": alias(client, service),
                    # No slug has an underscore, so no two zones of a host share a name.
                    "zone": f"{client.slug}_{service.name}_{number}",
                }
            )
    return [
        {
            "name": f"{subdomain}.{client.domain}" if subdomain else client.domain,
            "routes": found,
            "page": not subdomain and all(route["path"] != "/" for route in found),
            "prefixes": list(dict.fromkeys(route["prefix"] for route in found if route["prefix"])),
        }
        for subdomain, found in routes.items()
    ]
