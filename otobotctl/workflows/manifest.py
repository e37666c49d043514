"""`manifest validate` and `manifest schema`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl import manifest
from otobotctl.render.catalog import load_catalog
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet


@dataclass(frozen=True)
class Validated:
    """A manifest without findings."""

    path: str
    hosts: int
    clients: int


def validate(fleet: Fleet) -> Validated:
    """Check the manifest. Raises ManifestError with every finding."""
    loaded = load(fleet)
    return Validated(str(fleet.manifest), len(loaded.manifest.hosts), len(loaded.manifest.clients))


def schema() -> dict[str, Any]:
    """The JSON Schema of a manifest, with the services of this version."""
    return manifest.json_schema(load_catalog().service_shapes())
