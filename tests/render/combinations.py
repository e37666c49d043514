"""Every combination that the manifest allows of what reaches a proxy's files, or a client's; made, not picked.

A variant is one client, with a slug, a domain and a slot of its own, so that any number of variants fit on one host.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache
from typing import get_args

from msgspec.structs import replace

from otobotctl.errors import ManifestError
from otobotctl.manifest.models import ENVIRONMENTS, Names, Tls
from otobotctl.render.client import render_client, services_of
from otobotctl.render.front import render_front
from tests.render.sample import EVERYTHING, catalog, resolved, secrets_of

PROXIES = ("nginx", "caddy")
PROFILES = catalog().service("nginx").settings["tls"].choices


@dataclass(frozen=True)
class Front:
    """How a host's proxy is set: which one, which TLS, with IPv6 or without, of which version."""

    proxy: str
    profile: str
    ipv6: bool
    version: str = ""

    def settings(self):
        """The proxy's settings in the manifest."""
        said = {"tls": self.profile, "ipv6": self.ipv6}
        return {self.proxy: {**said, "version": self.version} if self.version else said}


@cache
def host():
    """The host that every variant runs on."""
    return resolved().host("vps-1")


def client(number, services, **said):
    """The client in slot `number`, with these services."""
    sample = resolved().client("acme")
    return replace(
        sample, slug=f"v{number}", domain=f"v{number}.example", index=number, services=tuple(services), **said
    )


@cache
def subsets():
    """Every set of a client's own services that may run together: those that the renderer does not refuse."""
    found = []
    for count in range(1, len(EVERYTHING) + 1):
        for services in itertools.combinations(EVERYTHING, count):
            try:
                services_of(client(0, services), host(), catalog())
            except ManifestError:
                continue
            found.append(services)
    return tuple(found)


def seen_by_a_proxy(services):
    """What a proxy's files can know of a set of services: those with routes, and whether any is on its network."""
    known = [catalog().service(name) for name in services]
    return tuple(each.name for each in known if each.routes), any("edge" in each.networks for each in known)


@cache
def exposed():
    """One set of services for each thing that a proxy can see, the smallest first."""
    found = {}
    for services in subsets():
        found.setdefault(seen_by_a_proxy(services), services)
    return tuple(found.values())


def variants(front):
    """Every client that this proxy could have: services, names and kind of certificate."""
    kinds = itertools.product(exposed(), get_args(Names), get_args(Tls))
    return tuple(
        client(number, (*services, front.proxy), names=names, tls=tls, settings=front.settings())
        for number, (services, names, tls) in enumerate(kinds)
    )


def fronts(proxy, version=""):
    """Every way to set this proxy."""
    return tuple(Front(proxy, profile, ipv6, version) for profile in PROFILES for ipv6 in (True, False))


def rendered_front(*clients):
    """The release of a host's proxy with these clients."""
    return render_front(host(), clients, catalog())


def rendered_clients():
    """Every distinct release of a client: services, environment and n8n's mode; each in a slot of its own, in turn."""
    number = itertools.count()
    for services, environment in itertools.product(subsets(), ENVIRONMENTS):
        modes = ("regular", "queue") if {"n8n", "redis"} <= {*services} else ("regular",)
        for mode in modes:
            said = client(next(number) % 100, services, environment=environment, settings={"n8n": {"mode": mode}})
            yield said, render_client(said, host(), said.index, secrets_of(said), catalog())
