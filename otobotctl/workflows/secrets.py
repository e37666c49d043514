"""`secrets list`, `secrets set`, and the minting that other commands need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otobotctl import secrets
from otobotctl.errors import ManifestError, UsageError
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class SecretRow:
    """What may be shown of a secret."""

    client: str
    name: str
    kind: str
    created: str
    fingerprint: str


def mint(loaded: Loaded, slug: str) -> tuple[str, ...]:
    """Mint and seal the secrets that a client's services need and that do not exist; return their names."""
    client = loaded.manifest.client(slug)
    specs = loaded.catalog.secret_specs(client.services)
    with secrets.locked(loaded.fleet.client(slug)):
        store = secrets.open_store(loaded.fleet.client(slug), secrets.identities())
        store, minted = secrets.mint_missing(store, specs, datetime.now(UTC))
        if minted:
            secrets.save(loaded.fleet.client(slug), store, loaded.manifest.recipients)
    return minted


def opened(loaded: Loaded, slug: str) -> Mapping[str, secrets.Secret]:
    """A client's secrets. Raises ManifestError naming those that are still missing."""
    client = loaded.manifest.client(slug)
    store = secrets.open_store(loaded.fleet.client(slug), secrets.identities())
    missing = [spec for spec in loaded.catalog.secret_specs(client.services) if spec.name not in store.values]
    if given := [spec.name for spec in missing if spec.given]:
        raise ManifestError(f"{slug} has no {', '.join(given)} yet", hint=f"otobotctl secrets set {slug} {given[0]}")
    if missing:
        raise ManifestError(
            f"{slug} has no {', '.join(spec.name for spec in missing)} yet",
            hint=f"otobotctl client deploy {slug} mints them, and so does client create with the same values",
        )
    return store.values


def listed(fleet: Fleet, slug: str) -> tuple[SecretRow, ...]:
    """A client's secrets without their values; needs no key."""
    load(fleet).manifest.client(slug)
    return tuple(
        SecretRow(slug, entry.name, entry.kind, entry.created, entry.fingerprint)
        for entry in secrets.read_metadata(fleet.client(slug))
    )


def set_given(fleet: Fleet, slug: str, name: str, value: str) -> SecretRow:
    """Seal a value that only a person can tell."""
    loaded = load(fleet)
    client = loaded.manifest.client(slug)
    specs = {spec.name: spec for spec in loaded.catalog.secret_specs(client.services)}
    if name not in specs:
        raise UsageError(
            f"no service of {slug} has a secret {name}", hint=f"its secrets are: {', '.join(sorted(specs))}"
        )
    if not value:
        raise UsageError(f"the value of {name} is empty; nothing was changed", hint="give it on stdin")
    with secrets.locked(fleet.client(slug)):
        store = secrets.open_store(fleet.client(slug), secrets.identities())
        store = secrets.set_given(store, specs[name], value, datetime.now(UTC))
        secrets.save(fleet.client(slug), store, loaded.manifest.recipients)
    return next(row for row in listed(fleet, slug) if row.name == name)
