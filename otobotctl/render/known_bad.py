"""Warnings of chosen versions that have published vulnerabilities; `templates/known-bad.yaml` lists them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from otobotctl.render.settings import settings_for

if TYPE_CHECKING:
    from otobotctl.manifest import ResolvedClient, ResolvedManifest
    from otobotctl.render.catalog import Catalog

_Version = Annotated[str, Meta(pattern=r"^\d+(\.\d+)*$")]


class KnownBad(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A published vulnerability of the versions from `since` up to, and not including, `below`."""

    advisory: str
    below: _Version
    why: str
    since: _Version = "0"

    def holds(self, version: tuple[int, ...]) -> bool:
        """Whether a version has it."""
        return _numbers(self.since) <= version < _numbers(self.below)


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
    numbers = _numbers(version)
    found = [f"{row.advisory} ({row.why}; fixed in {row.below})" for row in rows if numbers and row.holds(numbers)]
    if found:
        yield (
            f"clients.{client.slug}: {name} {version} has published vulnerabilities: {', '.join(found)}; "
            f"set settings.{name}.version to {service.settings['version'].default}"
        )


def _numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a tag such as v1.41.1-alpine begins with; none: an empty tuple."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(number) for number in found[1].split(".")) if found else ()
