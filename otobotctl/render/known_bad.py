"""Warnings of chosen versions that have published vulnerabilities; `templates/known-bad.yaml` lists them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from otobotctl.render import versions
from otobotctl.render.settings import settings_for

if TYPE_CHECKING:
    from otobotctl.manifest import ResolvedClient, ResolvedManifest
    from otobotctl.render.catalog import Catalog


def warnings(manifest: ResolvedManifest, clients: Iterable[ResolvedClient], catalog: Catalog) -> tuple[str, ...]:
    """Return one warning for each service of these clients whose version is known to be bad.

    A tag that does not begin with a version, such as `stable`, cannot be judged and is passed over.

    Raises:
        ManifestError: a setting does not fit.
    """
    return tuple(
        warning
        for client in clients
        for service in client.services
        for warning in _of_service(service, client, manifest.host(client.host).stack, catalog)
    )


def _of_service(name: str, client: ResolvedClient, stack: str, catalog: Catalog) -> Iterable[str]:
    rows = catalog.known_bad.get(name, ())
    if not rows:
        return
    service = catalog.service(name)
    version = str(settings_for(service, client, catalog.stack(stack))["version"])
    numbers = versions.numbers(version)
    found = [f"{row.advisory} ({row.why}; fixed in {row.below})" for row in rows if numbers and row.holds(numbers)]
    if found:
        yield (
            f"clients.{client.slug}: {name} {version} has published vulnerabilities: {', '.join(found)}; "
            f"set settings.{name}.version to {service.settings['version'].default}"
        )
