"""A client's manifest and secrets to the files of its release. Pure: the same input gives the same bytes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from otobotctl.errors import ManifestError
from otobotctl.render import compose, engine, layout, names
from otobotctl.render.catalog import PORT_STRIDE
from otobotctl.render.engine import SecretView
from otobotctl.render.ia_keys import key_name
from otobotctl.render.project import Part, render_project
from otobotctl.render.settings import settings_for

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient, ResolvedHost
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.release import RenderedRelease
    from otobotctl.render.service import Database, ServiceTemplate, Stack
    from otobotctl.secrets import Secret


def render_client(
    client: ResolvedClient, host: ResolvedHost, index: int, secrets: Mapping[str, Secret], catalog: Catalog
) -> RenderedRelease:
    """Return the release of one client. `index` is its slot on its host, from which its published ports derive.

    Raises:
        ManifestError: a service, a setting or a secret is missing or does not fit.
    """
    services = services_of(client, host, catalog)
    offset = index * PORT_STRIDE
    parts = []
    for service in services:
        variables = _variables(client, host, service, services, catalog)
        image = catalog.image(service, variables["settings"].get("version", ""))
        view = SecretView(secrets, _allowed(service, variables["databases"]), service.name, _optional(service))
        parts.append(Part(service, image, offset, view, {**variables, "image": image}, {}))
    made = render_project(client.slug, parts, catalog)
    return replace(made, secrets=_held(made, secrets))


def _held(made: RenderedRelease, secrets: Mapping[str, Secret]) -> dict[str, str]:
    """The fingerprints of the secrets that are in the release's files, those before included."""
    text = b"\0".join(file.content for file in made.files if file.secret)
    values = ((name, each, each.reveal().encode()) for name, each in sorted(secrets.items()))
    return {name: each.fingerprint for name, each, value in values if each.fingerprint and value and value in text}


def guides(client: ResolvedClient, host: ResolvedHost, catalog: Catalog) -> dict[str, str]:
    """Return what only a person can do, by service: text with the client's own names, and no secret."""
    services = services_of(client, host, catalog)
    return {
        service.name: engine.render(
            catalog,
            f"{service.name}/{service.guide}",
            {**_variables(client, host, service, services, catalog), "secrets": engine.NoSecrets(service.name)},
        )
        for service in services
        if service.guide
    }


def services_of(client: ResolvedClient, host: ResolvedHost, catalog: Catalog) -> tuple[ServiceTemplate, ...]:
    """Return the services that run in the client's own project, in the catalogue's order of the stack.

    Raises:
        ManifestError: one is unknown, not part of the host's stack, or lacks one that it requires.
    """
    if client.slug == layout.FRONT:
        raise ManifestError(f'clients.{client.slug}: "{layout.FRONT}" is the name of a host\'s proxy', hint="rename it")
    stack = catalog.stack(host.stack)
    for name in client.services:
        if name not in stack.services:
            # On a GPU host nothing else may bind 443: its own proxy serves the clients that live there.
            served = f"; {host.name}'s own proxy serves its names" if host.gpu and catalog.service(name).public else ""
            raise ManifestError(
                f"clients.{client.slug}.services: {name} does not run on the stack {stack.name} of {host.name}{served}",
                hint=f"its services are: {', '.join(stack.services)}; leave {name} out",
            )
        missing = [need for need in catalog.service(name).requires if need not in client.services]
        if missing:
            raise ManifestError(
                f"clients.{client.slug}.services: {name} requires {' and '.join(missing)}",
                hint="add it, or leave out both",
            )
    _check_names(client, stack, catalog)
    chosen = [catalog.service(name) for name in stack.services if name in client.services]
    own = tuple(service for service in chosen if service.scope == "client")
    if not own:
        raise ManifestError(
            f"clients.{client.slug}.services: nothing runs for this client alone",
            hint="add a service, such as postgres",
        )
    return own


def _check_names(client: ResolvedClient, stack: Stack, catalog: Catalog) -> None:
    if client.names == "subdomains":
        return
    for service in map(catalog.service, client.services):
        version = settings_for(service, client, stack).get("version", "")
        for reason in names.refusals(client, service, version):
            raise ManifestError(
                f"clients.{client.slug}.names: {reason}",
                hint=f'write "names": "subdomains", or take {service.name} out of the services',
            )


def alias(client: ResolvedClient, service: ServiceTemplate) -> str:
    """Return the name that the proxy knows a container by. Neither part has a dot, so no two clients share one."""
    return f"{service.name}.{client.slug}"


def published_ports(client: ResolvedClient, service: ServiceTemplate, stack: Stack) -> dict[str, int]:
    """Return the service's ports on the host's 127.0.0.1, by the names that service.yaml gives them."""
    return compose.published(service, settings_for(service, client, stack), client.index * PORT_STRIDE)


def _variables(
    client: ResolvedClient,
    host: ResolvedHost,
    service: ServiceTemplate,
    services: tuple[ServiceTemplate, ...],
    catalog: Catalog,
) -> dict[str, Any]:
    databases = [database for each in services for database in each.databases]
    return {
        "client": client,
        "host": host,
        "service": service,
        "services": [each.name for each in services],
        "settings": settings_for(service, client, catalog.stack(host.stack)),
        "databases": [database for database in databases if database.engine == service.engine],
        "alias": alias(client, service),
        "place": names.place_of(client, service),
    }


def _allowed(service: ServiceTemplate, databases: list[Database]) -> set[str]:
    """Return the secrets that the service's environment files may hold."""
    roles = [role for database in databases for role in (database.owner, *database.roles)]
    return {*service.secrets, *service.uses, *(role.secret for role in roles), *_optional(service)}


def _optional(service: ServiceTemplate) -> set[str]:
    """Return what a client may have or not: the key of IA Interne that the service does not own."""
    return {key_name(service.ia)} - service.secrets.keys() if service.ia else set()
