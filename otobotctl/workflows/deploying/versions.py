"""`deploy --version SERVICE=VERSION`: a service's version in the manifest, for clients that are deployed with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl import manifest
from otobotctl.errors import OtobotError, UsageError
from otobotctl.render.catalog import load_catalog
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class Version:
    """A version of a service that is asked for."""

    service: str
    version: str


def parse(words: Sequence[str]) -> tuple[Version, ...]:
    """Read words such as n8n=1.123.83. Raises UsageError."""
    found: dict[str, str] = {}
    for word in words:
        service, equals, version = word.partition("=")
        if not (service and equals and version):
            raise UsageError(f"{word!r} is not SERVICE=VERSION", hint="for example: --version n8n=1.123.83")
        if found.setdefault(service, version) != version:
            raise UsageError(f"two versions of {service} are asked for", hint="leave one out")
    return tuple(Version(service, version) for service, version in found.items())


def imagined(loaded: Loaded, slugs: Sequence[str], asked: Sequence[Version]) -> Loaded:
    """Return the fleet as it would be with these versions; nothing is written."""
    if not asked:
        return loaded
    clients = dict(loaded.manifest.clients)
    for slug in slugs:
        client = clients[slug]
        _check(loaded, slug, asked)
        settings = {**client.settings}
        for each in asked:
            settings[each.service] = {**settings.get(each.service, {}), "version": each.version}
        clients[slug] = msgspec.structs.replace(client, settings=settings)
    return replace(loaded, manifest=msgspec.structs.replace(loaded.manifest, clients=clients))


@contextmanager
def written(fleet: Fleet, slug: str, asked: Sequence[Version]) -> Iterator[None]:
    """Have these versions in the manifest. A failure in the block puts back what was there.

    They are written first, and so survive a kill: the same command then goes on.
    """
    if not asked:
        yield
        return
    loaded = load(fleet)
    _check(loaded, slug, asked)
    before = _said(fleet, slug, asked)
    manifest.set_versions(fleet.manifest, slug, {each.service: each.version for each in asked}, _shapes())
    try:
        yield
    except OtobotError:
        # Only what is still as it was written here.
        if _said(fleet, slug, asked) == {each.service: each.version for each in asked}:
            manifest.set_versions(fleet.manifest, slug, before, _shapes())
        raise


def _check(loaded: Loaded, slug: str, asked: Sequence[Version]) -> None:
    services = loaded.manifest.client(slug).services
    for each in asked:
        if each.service not in services:
            raise UsageError(f"{slug} has no {each.service}", hint=f"its services are: {', '.join(services)}")
        if "version" not in loaded.catalog.service(each.service).settings:
            raise UsageError(f"{each.service} has no version of its own", hint="it comes with otobotctl")


def _said(fleet: Fleet, slug: str, asked: Sequence[Version]) -> Mapping[str, str | None]:
    """What the client's own entry says of these versions; None: nothing."""
    import json

    entry: dict[str, Any] = json.loads(fleet.manifest.read_bytes())["clients"][slug].get("settings", {})
    return {each.service: entry.get(each.service, {}).get("version") for each in asked}


def _shapes() -> Any:
    return load_catalog().service_shapes()
