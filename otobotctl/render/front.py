"""The one proxy of a host, rendered from all of its clients: it alone listens in public."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otobotctl.errors import ManifestError
from otobotctl.render import layout
from otobotctl.render.client import alias, services_of
from otobotctl.render.engine import NoSecrets
from otobotctl.render.project import Part, render_project
from otobotctl.render.settings import settings_for, shared_settings

if TYPE_CHECKING:
    from otobotctl.manifest.resolve import ResolvedClient, ResolvedHost
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.release import RenderedRelease

PROXY = "nginx"
_HTTP2_DIRECTIVE = (1, 25, 1)  # the first nginx that knows `http2 on`
_NEWEST = (99,)


def render_front(host: ResolvedHost, clients: Sequence[ResolvedClient], catalog: Catalog) -> RenderedRelease | None:
    """Return the release of the host's proxy, or None when no client wants one. Clients may come in any order.

    Raises:
        ManifestError: clients disagree about what they share, or a setting does not fit.
    """
    served = front_clients(clients)
    if not served:
        return None
    stack = catalog.stack(host.stack)
    settings_of = {client.slug: settings_for(catalog.service(PROXY), client, stack) for client in served}
    described = [_describe(client, host, catalog) for client in served]
    each = {client["slug"]: {"client": client, "sites": client["sites"]} for client in described}
    parts = []
    for name in stack.host_services:
        if name == "acme" and not any(client.tls == "acme" for client in served):
            continue
        service = catalog.service(name)
        settings = shared_settings(service, settings_of if name == PROXY else {})
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


def front_clients(clients: Sequence[ResolvedClient]) -> tuple[ResolvedClient, ...]:
    """Return the clients that the proxy serves, ordered by name, so that the file's order makes no difference."""
    return tuple(sorted((client for client in clients if PROXY in client.services), key=lambda client: client.slug))


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
        for route in service.routes:
            upstream = alias(client, service)
            routes.setdefault(route.subdomain, []).append(
                {
                    "path": route.path,
                    "port": route.port,
                    "exact": route.exact,
                    "websocket": route.websocket,
                    "read_timeout_s": route.read_timeout_s,
                    "upstream": upstream,
                }
            )
    return [
        {
            "name": f"{subdomain}.{client.domain}" if subdomain else client.domain,
            "routes": found,
            "page": not subdomain and all(route["path"] != "/" for route in found),
        }
        for subdomain, found in routes.items()
    ]


def _http2(version: str) -> Mapping[str, Any]:
    """Return how this nginx is told to speak HTTP/2: a parameter of `listen` once, a directive of its own now."""
    number = re.match(r"\d+(\.\d+)*", version)
    parts = tuple(int(part) for part in number[0].split(".")) if number else _NEWEST
    directive = parts >= _HTTP2_DIRECTIVE
    return {"http2_directive": directive, "http2_parameter": "" if directive else " http2"}
