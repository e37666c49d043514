"""The one proxy of a host, rendered from all of its clients: it alone listens in public."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otobotctl.errors import ManifestError
from otobotctl.render import layout
from otobotctl.render.client import services_of
from otobotctl.render.engine import NoSecrets
from otobotctl.render.ia import render_ia
from otobotctl.render.project import Part, render_project
from otobotctl.render.settings import settings_for, shared_settings
from otobotctl.render.sites import described
from otobotctl.render.versions import numbers

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient, ResolvedHost
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.release import RenderedRelease
    from otobotctl.render.service import ServiceTemplate

_HTTP2_DIRECTIVE = (1, 25, 1)  # the first nginx that knows `http2 on`
_NEWEST = (99,)


def render_front(host: ResolvedHost, clients: Sequence[ResolvedClient], catalog: Catalog) -> RenderedRelease | None:
    """Return the release of the host's proxy, or None when no client wants one. Clients may come in any order.

    On a GPU host it is IA Interne: its own proxy, which serves the clients that live there too.

    Raises:
        ManifestError: clients disagree about what they share, or a setting does not fit.
    """
    served = front_clients(host, clients, catalog)
    if host.gpu:
        return render_ia(host, host.gpu, [described(client, host, catalog) for client in served], catalog)
    if not served:
        return None
    stack = catalog.stack(host.stack)
    proxy = _proxy(host, served, catalog)
    settings_of = {client.slug: settings_for(proxy, client, stack) for client in served}
    shown = [described(client, host, catalog) for client in served]
    each = {client["slug"]: {"client": client, "sites": client["sites"]} for client in shown}
    parts = []
    for name in stack.host_services:
        service = catalog.service(name)
        if not _runs(service, proxy, served):
            continue
        settings = shared_settings(service, settings_of if service == proxy else {})
        image = catalog.image(service, settings["version"])
        variables = {
            "host": host,
            "clients": shown,
            "settings": settings,
            "settings_of": settings_of,
            "image": image,
            "alias": name,
            "tls_directory": layout.TLS,
            "letsencrypt_directory": layout.LETSENCRYPT,
            "own_authority": False,
            **_http2(settings["version"]),
        }
        own = {slug: {**variables_of, "settings": settings_of[slug]} for slug, variables_of in each.items()}
        parts.append(Part(service, image, 0, NoSecrets(name), variables, own))
    return render_project(layout.FRONT, parts, catalog)


def front_clients(
    host: ResolvedHost, clients: Sequence[ResolvedClient], catalog: Catalog
) -> tuple[ResolvedClient, ...]:
    """Return those of the host's clients that its proxy serves, ordered by name: the file's order makes no difference.

    They are those that name a proxy; on a GPU host, which has one of its own, those that have something to show.
    """
    served = (client for client in clients if _is_served(client, host, catalog))
    return tuple(sorted(served, key=lambda client: client.slug))


def _is_served(client: ResolvedClient, host: ResolvedHost, catalog: Catalog) -> bool:
    if host.gpu:
        return any(service.routes for service in services_of(client, host, catalog))
    return bool(_proxies_of(client, catalog))


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


def _http2(version: str) -> Mapping[str, Any]:
    """Return how this nginx is told to speak HTTP/2: a parameter of `listen` once, a directive of its own now."""
    directive = (numbers(version) or _NEWEST) >= _HTTP2_DIRECTIVE
    return {"http2_directive": directive, "http2_parameter": "" if directive else " http2"}
