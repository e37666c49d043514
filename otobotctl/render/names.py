"""Where a client's services are found: each at a name of its own, or all below paths of the client's domain."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl.render.versions import numbers

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient
    from otobotctl.render.service import Route, ServiceTemplate


@dataclass(frozen=True, slots=True)
class Place:
    """Where one service is found from outside. `path` is "" or like /n8n; `url` has no slash at its end."""

    host: str
    path: str

    @property
    def url(self) -> str:
        """The address of the service's root."""
        return f"https://{self.host}{self.path}"


def place_of(client: ResolvedClient, service: ServiceTemplate) -> Place:
    """Return where people find the service; one without a name of its own is at the client's domain."""
    subdomain = next((route.subdomain for route in service.routes if route.subdomain), "")
    if not subdomain:
        return Place(client.domain, "")
    if client.names == "paths":
        return Place(client.domain, service.below.path)
    return Place(f"{subdomain}.{client.domain}", "")


def routed(client: ResolvedClient, service: ServiceTemplate, route: Route) -> Mapping[str, Any]:
    """Return where the proxy takes a route: the `subdomain` ("": the client's domain), `prefix`, `path` and `strip`.

    `path` has the prefix in it; with `strip` the container is asked without it.
    """
    prefix = place_of(client, service).path if route.subdomain else ""
    subdomain = "" if prefix else route.subdomain
    return {
        "subdomain": subdomain,
        "prefix": prefix,
        "path": prefix + route.path,
        "strip": bool(prefix) and service.below.strip,
    }


def refusals(client: ResolvedClient, service: ServiceTemplate, version: str) -> Iterator[str]:
    """Yield why this service cannot be served as the client's manifest says, if it cannot."""
    if client.names != "paths" or not any(route.subdomain for route in service.routes):
        return
    below = service.below
    if not below.path:
        yield f"{service.name} cannot be served below a path: {below.refused or 'its service.yaml names no path'}"
    elif below.since and (found := numbers(version)) and found < numbers(below.since):
        yield f"{service.name} {version} cannot be served below a path; {below.since} is the first that can"
