"""From the fleet to what one host should be: manifest, secrets, renderings and playbook put together."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otobotctl import data, manifest
from otobotctl.errors import ManifestError
from otobotctl.render.catalog import load_catalog

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet
    from otobotctl.manifest import ResolvedClient, ResolvedHost, ResolvedManifest
    from otobotctl.plan.model import Stage
    from otobotctl.render import backups
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.image import BuiltImage
    from otobotctl.render.release import RenderedRelease
    from otobotctl.secrets import Secret


@dataclass(frozen=True)
class Loaded:
    """A fleet read from disk: valid, defaults applied.

    `forced` are the clients whose services may go back to an older version although they hold data.
    """

    fleet: Fleet
    manifest: ResolvedManifest
    catalog: Catalog
    forced: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Desired:
    """What a host should be. `mask` are the values that may be shown nowhere."""

    host: str
    stages: tuple[Stage, ...]
    mask: tuple[str, ...]


def load(fleet: Fleet) -> Loaded:
    """Read and check the manifest against the catalogue. Raises ManifestError with every finding."""
    catalog = load_catalog()
    raw = manifest.load(fleet.manifest, catalog.service_shapes())
    resolved = manifest.resolve(raw, catalog.archives(), os.environ.get("OTOBOTCTL_USER") or None)
    if resolved.operators:
        from otobotctl.render import roles

        roles.check(resolved)
    return Loaded(fleet, resolved, catalog)


def warnings(loaded: Loaded, clients: Iterable[ResolvedClient]) -> tuple[str, ...]:
    """What an operator should know of these clients' versions."""
    from otobotctl.render import known_bad

    return known_bad.warnings(loaded.manifest, clients, loaded.catalog)


def desired(
    loaded: Loaded,
    name: str,
    secrets: Mapping[str, Mapping[str, Secret]],
    gone: Iterable[str] = (),
    peers: Mapping[str, Secret] | None = None,
    token: Secret | None = None,
) -> Desired:
    """What a host should be with these secrets, by client. Nothing of the backups of those who are `gone` stays.

    `peers` are the keys that the GPU hosts of its name know each other by, `token` is the host's own for its engine.
    """
    from otobotctl.plan.playbook import load_playbook
    from otobotctl.render import backups, ia_keys, pool
    from otobotctl.render.client import render_client
    from otobotctl.render.front import render_front

    host = loaded.manifest.host(name)
    clients = loaded.manifest.clients_of(name)
    releases = {c.slug: render_client(c, host, c.index, secrets[c.slug], loaded.catalog) for c in clients}
    front = render_front(host, clients, loaded.catalog)
    images = loaded.catalog.built_images({service for client in clients for service in client.services})
    kept = [_backup(loaded, client, host, secrets[client.slug]) for client in clients]
    shared = pool.files(host, peers or {}, loaded.catalog) if host.pool else ()
    variables = {
        **of_host(loaded, name),
        "clients": [_client(client, releases[client.slug], client.slug in loaded.forced) for client in clients],
        "front": release_variables(front) if front else None,
        "images": [image_variables(image) for image in images],
        "backups": [backups.variables(each) for each in (*kept, *map(backups.HostBackup, gone))],
        "backup_packages": backups.packages(host.tags, kept),
        "ia_keys": ia_keys.key_list(host.gpu, secrets) if host.gpu else "",
        "ia_pool": [{"name": each.name, "content": each.content, "secret": each.secret} for each in shared],
        "ia_pool_digest": pool.digest(shared[:-1]),
        "ia_token": token.reveal() if token else "",
    }
    mask = masked([*secrets.values(), peers or {}, {token.name: token} if token else {}])
    return Desired(name, load_playbook(playbook_path(host.playbook), variables), mask)


def of_host(loaded: Loaded, name: str) -> dict[str, Any]:
    """What a playbook is told of the host itself and of who works there: no secret is in it."""
    from otobotctl.render import roles

    operators = [
        {"name": each.name, "keys": list(each.keys), "sudo": each.sudo, "gate": each.role is not None}
        for each in loaded.manifest.operators_of(name)
    ]
    return {"host": loaded.manifest.host(name), "operators": operators, "policy": roles.policy(loaded.manifest, name)}


def _backup(
    loaded: Loaded, client: ResolvedClient, host: ResolvedHost, secrets: Mapping[str, Secret]
) -> backups.HostBackup:
    from otobotctl.render import backups
    from otobotctl.render.client import services_of

    if not client.backup.targets:
        return backups.HostBackup(client.slug)
    sealed = loaded.fleet.client(client.slug) / "secrets.age"
    services = services_of(client, host, loaded.catalog)
    return backups.host_backup(client, services, secrets, sealed.read_bytes(), loaded.manifest.recipients)


def playbook_path(name: str) -> Path:
    """Where a playbook of this name is. Raises ManifestError."""
    path = data.data_dir("playbooks") / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(each.stem for each in path.parent.glob("*.yaml")))
        raise ManifestError(f"there is no playbook {name}", hint=f"the playbooks are: {known}")
    return path


def release_variables(release: RenderedRelease) -> dict[str, Any]:
    """A rendering as a playbook sees it: the parameters of a compose_release."""
    files = [
        {"path": file.path, "mode": f"{file.mode:04o}", "secret": file.secret, **_content(file.content)}
        for file in release.files
    ]
    return {
        "client": release.client,
        "project": release.project,
        "digest": release.digest,
        "files": files,
        "images": dict(release.images),
        "stateful": list(release.stateful),
        "wait_s": release.wait_s,
        "smoke": [dict(test) for test in release.smoke],
        "secrets": dict(release.secrets),
    }


def masked(stores: Iterable[Mapping[str, Secret]]) -> tuple[str, ...]:
    """Every value that must not be shown."""
    return tuple(sorted({secret.reveal() for store in stores for secret in store.values()} - {""}))


def _client(client: ResolvedClient, release: RenderedRelease, forced: bool) -> dict[str, Any]:
    fields = ("slug", "company", "email", "domain", "environment", "tls", "services")
    return {
        **{field: getattr(client, field) for field in fields},
        "release": {**release_variables(release), "allow_downgrade": forced},
        "provisions": [
            {
                "client": release.client,
                "project": release.project,
                "service": each.service,
                "program": list(each.program),
                "items": list(each.items),
                "kept": each.kept,
                "remedy": each.remedy,
            }
            for each in release.provisions
        ],
    }


def image_variables(image: BuiltImage) -> dict[str, Any]:
    """A built image as a playbook sees it: the parameters of the kind `docker_image`."""
    files = [{"path": path, **_content(content)} for path, content in sorted(image.files.items())]
    return {"name": image.name, "tag": image.tag, "files": files}


def _content(content: bytes) -> dict[str, str]:
    return {"content_base64": b64encode(content).decode()}
