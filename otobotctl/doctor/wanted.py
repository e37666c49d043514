"""What a host is held against, worked out from the manifest alone: no key is needed, and no real secret is touched.

The client is rendered with secrets made up for the moment. Where one of them turns up in an environment file, there the
service has that secret; so a new service is known without a line of Python.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from otobotctl.doctor.model import Login, Variable, Wanted
from otobotctl.render import layout
from otobotctl.render.client import published_ports, render_client, services_of
from otobotctl.render.engine import SECOND
from otobotctl.render.front import front_clients, render_front
from otobotctl.render.sites import names_of
from otobotctl.secrets import Secret, SecretSpec
from otobotctl.secrets.mint import mint

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient, ResolvedHost
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.release import RenderedRelease
    from otobotctl.render.service import ServiceTemplate

Variables = Mapping[str, Mapping[str, Variable]]

_ENV, _SUFFIX = "env/", ".env"
_ADMIN = "otobot_admin"
# The secret that lets in whoever knows it: engine, role and database.
_KEYS: Final[Mapping[str, tuple[str, str, str]]] = {
    "POSTGRES_PASSWORD": ("postgres", _ADMIN, "postgres"),
    "MONGO_PASSWORD": ("mongo", _ADMIN, "admin"),
    "REDIS_PASSWORD": ("redis", "", ""),
}


def wanted(
    host: ResolvedHost,
    clients: tuple[ResolvedClient, ...],
    catalog: Catalog,
    turns: Mapping[str, Mapping[str, int]] | None = None,
) -> Wanted:
    """What these clients of a host should have there; `due` is left to who can read a fleet.

    `turns` are, by client and secret, which of a role's two logins has the password: the first, where nothing is said.
    """
    stack = catalog.stack(host.stack)
    found = Wanted()
    for client in clients:
        made_up = secrets_for(client, catalog, (turns or {}).get(client.slug, {}))
        release = render_client(client, host, client.index, made_up, catalog)
        variables = variables_of(release, made_up, {spec.name: spec for spec in _specs(client, catalog)})
        own = services_of(client, host, catalog)
        ports = {each.name: tuple(published_ports(client, each, stack).values()) for each in own}
        found = replace(
            found,
            variables={**found.variables, client.slug: variables},
            images={**found.images, client.slug: dict(release.images)},
            ports={**found.ports, client.slug: ports},
            logins=(
                *found.logins,
                *_logins(client, variables, dict(_environments(release)), own, _keys(own, made_up)),
            ),
        )
    served = front_clients(host, clients, catalog)
    front = render_front(host, served, catalog)
    shared = {layout.FRONT: (host.gpu.domain,)} if host.gpu else {}
    return replace(
        found,
        images={**found.images, **({layout.FRONT: dict(front.images)} if front else {})},
        names={**{client.slug: names_of(client, host, catalog) for client in served}, **shared},
    )


def secrets_for(
    client: ResolvedClient, catalog: Catalog, turns: Mapping[str, int] | None = None
) -> Mapping[str, Secret]:
    """Secrets of the right kinds that nobody uses."""
    return {
        spec.name: Secret(spec.name, mint("password" if spec.given else spec.kind), (turns or {}).get(spec.name, 0))
        for spec in _specs(client, catalog)
    }


def variables_of(release: RenderedRelease, made_up: Mapping[str, Secret], specs: Mapping[str, SecretSpec]) -> Variables:
    """The variables of each container, and which secret is in which."""
    found: dict[str, dict[str, Variable]] = {}
    for holder, pairs in _environments(release):
        there = found.setdefault(holder, {})
        for name, value in pairs:
            secret = next((one.name for one in made_up.values() if one.reveal() == value), "")
            within = next((one.name for one in made_up.values() if one.reveal() in value and "://" in value), "")
            kind = "" if not secret else "given" if specs[secret].given else specs[secret].kind
            there[name] = Variable(kind, secret or within, filled=bool(value))
    return found


def _environments(release: RenderedRelease) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    """The environment file of each container: its service, and its variables."""
    for file in release.files:
        if file.path.startswith(_ENV) and file.path.endswith(_SUFFIX):
            yield file.path[len(_ENV) : -len(_SUFFIX)], tuple(_pairs(file.content.decode()))


def _pairs(text: str) -> Iterator[tuple[str, str]]:
    for line in text.splitlines():
        name, separator, value = line.partition("=")
        if separator and not line.startswith("#"):
            quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "'\""
            yield name, value[1:-1] if quoted else value


def _logins(
    client: ResolvedClient,
    variables: Variables,
    environments: Mapping[str, tuple[tuple[str, str], ...]],
    own: tuple[ServiceTemplate, ...],
    keys: Mapping[str, tuple[str, str, str]],
) -> Iterator[Login]:
    """Every login that a service of the client makes, with the variables that it makes it with."""
    engines = {each.engine: each.name for each in own if each.engine}
    if "redis" in client.services:
        engines["redis"] = "redis"
    for holder, there in variables.items():
        if holder.endswith("-init"):
            continue  # it has every password, and sets them
        for name, variable in there.items():
            engine, role, base = keys.get(variable.secret, ("", "", ""))
            if engine in engines:
                user = next((key for key, value in environments[holder] if role and value == role), "")
                yield Login(client.slug, engine, engines[engine], role, base, holder, name, user)


def _keys(own: tuple[ServiceTemplate, ...], made_up: Mapping[str, Secret]) -> dict[str, tuple[str, str, str]]:
    """What each secret lets in to: engine, the login whose turn it is, and database."""
    found = dict(_KEYS)
    for service in own:
        for database in service.databases:
            for role in (database.owner, *database.roles):
                login = role.name + (SECOND if made_up[role.secret].turn else "")
                found[role.secret] = (database.engine, login, database.name)
    return found


def _specs(client: ResolvedClient, catalog: Catalog) -> tuple[SecretSpec, ...]:
    return catalog.secret_specs(client.services)
