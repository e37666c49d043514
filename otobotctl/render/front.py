"""The one proxy of a host, rendered from all of its clients: it alone listens in public."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl.errors import ManifestError
from otobotctl.render import layout, names
from otobotctl.render.client import alias, services_of
from otobotctl.render.engine import NoSecrets
from otobotctl.render.ia import render_ia
from otobotctl.render.project import Part, render_project
from otobotctl.render.settings import settings_for, shared_settings

if TYPE_CHECKING:
    from otobotctl.manifest.resolve import ResolvedClient, ResolvedHost
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.release import RenderedRelease
    from otobotctl.render.service import ServiceTemplate

_HTTP2_DIRECTIVE = (1, 25, 1)  # the first nginx that knows `http2 on`
_NEWEST = (99,)


def render_front(host: ResolvedHost, clients: Sequence[ResolvedClient], catalog: Catalog) -> RenderedRelease | None:
    """Return the release of the host's proxy, or None when no client wants one. Clients may come in any order.

    On a GPU host it is IA Interne: its own proxy and what that serves.

    Raises:
        ManifestError: clients disagree about what they share, or a setting does not fit.
    """
    if host.gpu:
        return render_ia(host, host.gpu, catalog)
    served = front_clients(clients, catalog)
    if not served:
        return None
    stack = catalog.stack(host.stack)
    proxy = _proxy(host, served, catalog)
    settings_of = {client.slug: settings_for(proxy, client, stack) for client in served}
    described = [_describe(client, host, catalog) for client in served]
    each = {client["slug"]: {"client": client, "sites": client["sites"]} for client in described}
    parts = []
    for name in stack.host_services:
        service = catalog.service(name)
        if not _runs(service, proxy, served):
            continue
        settings = shared_settings(service, settings_of if service == proxy else {})
        image = catalog.image(service, settings["version"])
        variables = {
            "host": host,
            "clients": described,
            "settings": settings,
            "settings_of": settings_of,
            "image": image,
            "alias": name,
            "tls_directory": layout.TLS,
            "letsencrypt_directory": layout.LETSENCRYPT,
            **_http2(settings["version"]),
        }
        own = {slug: {**variables_of, "settings": settings_of[slug]} for slug, variables_of in each.items()}
        parts.append(Part(service, image, 0, NoSecrets(name), variables, own))
    return render_project(layout.FRONT, parts, catalog)


def front_clients(clients: Sequence[ResolvedClient], catalog: Catalog) -> tuple[ResolvedClient, ...]:
    """Return the clients that a proxy serves, ordered by name, so that the file's order makes no difference."""
    served = (client for client in clients if _proxies_of(client, catalog))
    return tuple(sorted(served, key=lambda client: client.slug))


def _proxies_of(client: ResolvedClient, catalog: Catalog) -> tuple[str, ...]:
    return tuple(name for name in client.services if catalog.service(name).public)


def _proxy(host: ResolvedHost, served: Sequence[ResolvedClient], catalog: Catalog) -> ServiceTemplate:
    """Return the one proxy of the host: only one can listen on its ports 80 and 443."""
    named = {client.slug: _proxies_of(client, catalog) for client in served}
    wanted = {name for names in named.values() for name in names}
    if len(wanted) > 1:
        raise ManifestError(
            f"the clients of {host.name} name more than one proxy, and only one can listen there",
            hint=f"name the same one of {' and '.join(sorted(wanted))} in the services of each",
            details=[f"clients.{slug}.services: {', '.join(names)}" for slug, names in named.items()],
        )
    return catalog.service(wanted.pop())


def _runs(service: ServiceTemplate, proxy: ServiceTemplate, served: Sequence[ResolvedClient]) -> bool:
    """Whether a service of the host belongs to its front: the proxy, and what that proxy needs of the others."""
    if service.public:
        return service == proxy
    return proxy.name in service.requires and any(client.tls == "acme" for client in served)


def names_of(client: ResolvedClient, host: ResolvedHost, catalog: Catalog) -> tuple[str, ...]:
    """Return every host name of the client, its domain first: what its certificate must cover."""
    return tuple(site["name"] for site in _sites(client, host, catalog))


def _describe(client: ResolvedClient, host: ResolvedHost, catalog: Catalog) -> dict[str, Any]:
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


def _http2(version: str) -> Mapping[str, Any]:
    """Return how this nginx is told to speak HTTP/2: a parameter of `listen` once, a directive of its own now."""
    number = re.match(r"\d+(\.\d+)*", version)
    parts = tuple(int(part) for part in number[0].split(".")) if number else _NEWEST
    directive = parts >= _HTTP2_DIRECTIVE
    return {"http2_directive": directive, "http2_parameter": "" if directive else " http2"}
