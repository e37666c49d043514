"""`manifest validate` and `manifest schema`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl import manifest
from otobotctl.render.catalog import load_catalog
from otobotctl.workflows.desired import load, warnings

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet


@dataclass(frozen=True)
class Validated:
    """A manifest without findings. `warnings` are of what may be so, and should not."""

    path: str
    hosts: int
    clients: int
    warnings: tuple[str, ...]


def validate(fleet: Fleet) -> Validated:
    """Check the manifest, and that its services fit together on every host.

    Raises ManifestError with every finding of the file, or with the first client or host whose services do not fit.
    """
    from otobotctl.render.client import services_of
    from otobotctl.render.front import render_front

    loaded = load(fleet)
    for client in loaded.manifest.clients.values():
        services_of(client, loaded.manifest.host(client.host), loaded.catalog)
    for host in loaded.manifest.hosts.values():
        render_front(host, loaded.manifest.clients_of(host.name), loaded.catalog)
    return Validated(
        str(fleet.manifest),
        len(loaded.manifest.hosts),
        len(loaded.manifest.clients),
        warnings(loaded, loaded.manifest.clients.values()),
    )


def schema() -> dict[str, Any]:
    """The JSON Schema of a manifest, with the services of this version."""
    return manifest.json_schema(load_catalog().service_shapes())
