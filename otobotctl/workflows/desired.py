"""From the fleet to what one host should be: manifest, secrets, renderings and playbook put together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otobotctl import data, manifest
from otobotctl.errors import ManifestError
from otobotctl.render.catalog import load_catalog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otobotctl.fleet import Fleet
    from otobotctl.manifest import ResolvedHost, ResolvedManifest
    from otobotctl.plan.model import Stage
    from otobotctl.render.catalog import Catalog
    from otobotctl.render.release import RenderedRelease
    from otobotctl.secrets import Secret


@dataclass(frozen=True)
class Loaded:
    """A fleet read from disk: valid, defaults applied."""

    fleet: Fleet
    manifest: ResolvedManifest
    catalog: Catalog


def load(fleet: Fleet) -> Loaded:
    """Read and check the manifest against the catalogue. Raises ManifestError with every finding."""
    catalog = load_catalog()
    raw = manifest.load(fleet.manifest, catalog.service_shapes())
    return Loaded(fleet, manifest.resolve(raw), catalog)


def now() -> datetime:
    """The time that new secrets carry."""
    return datetime.now(UTC)


def playbook_path(name: str) -> Path:
    """Where a playbook of this name is. Raises ManifestError."""
    path = data.data_dir("playbooks") / f"{name}.yaml"
    if not path.is_file():
        raise ManifestError(
            f"no playbook {name}",
            hint=f"the playbooks are: {', '.join(sorted(p.stem for p in path.parent.glob('*.yaml')))}",
        )
    return path


@dataclass(frozen=True)
class Desired:
    """What a host should be. `mask` are the values that may be shown nowhere."""

    host: ResolvedHost
    stages: tuple[Stage, ...]
    mask: tuple[str, ...]


def release_variables(release: RenderedRelease) -> dict[str, Any]:
    """A rendering as a playbook sees it: the parameters of a compose_release."""
    from base64 import b64encode

    return {
        "client": release.client,
        "project": release.project,
        "digest": release.digest,
        "files": [
            {
                "path": f.path,
                "content_base64": b64encode(f.content).decode(),
                "mode": f"{f.mode:04o}",
                "secret": f.secret,
            }
            for f in release.files
        ],
    }


def masked(secrets: Sequence[Mapping[str, Secret]]) -> tuple[str, ...]:
    """Every value that must not be shown."""
    return tuple(sorted({secret.reveal() for store in secrets for secret in store.values() if secret.reveal()}))
