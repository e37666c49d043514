"""`secrets list`, `status`, `show`, `set`, and the minting that other commands need."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otobotctl import secrets
from otobotctl.errors import ManifestError, UsageError
from otobotctl.secrets import policy
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otobotctl.fleet import Fleet
    from otobotctl.manifest import ResolvedHost
    from otobotctl.secrets import SecretSpec
    from otobotctl.secrets.policy import Standing
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class SecretRow:
    """What may be shown of a secret."""

    client: str
    name: str
    kind: str
    created: str
    fingerprint: str


@dataclass(frozen=True)
class Standings:
    """Secrets against their policy; needs no key. `overdue` counts those that somebody has to act on."""

    overdue: int
    secrets: tuple[Standing, ...]


@dataclass(frozen=True)
class Replacing:
    """What setting a secret would replace: `there`, a value; `because`, what that would lose ("" for nothing)."""

    there: bool
    because: str


def mint(loaded: Loaded, slug: str) -> tuple[str, ...]:
    """Mint and seal the secrets that a client's services need and that do not exist; return their names."""
    client = loaded.manifest.client(slug)
    specs = loaded.catalog.specs_of(client)
    with secrets.locked(loaded.fleet.client(slug)):
        store = secrets.open_store(loaded.fleet.client(slug), secrets.identities())
        store, minted = secrets.mint_missing(store, specs, datetime.now(UTC))
        if minted:
            secrets.save(loaded.fleet.client(slug), store, loaded.manifest.recipients)
    return minted


def mint_for(loaded: Loaded, host: ResolvedHost) -> None:
    """Mint what a host needs and nobody has made: for its clients, and for those who may ask its IA Interne.

    The latter live elsewhere, so that their own hosts may mint the same at this moment: who comes first does it.
    """
    for client in loaded.manifest.clients_of(host.name):
        mint(loaded, client.slug)
    for slug in host.gpu.callers if host.gpu else ():
        specs = loaded.catalog.specs_of(loaded.manifest.client(slug))
        there = {each.name for each in secrets.read_metadata(loaded.fleet.client(slug))}
        if any(spec.name not in there and not spec.given for spec in specs):
            mint(loaded, slug)


def opened(loaded: Loaded, slug: str) -> Mapping[str, secrets.Secret]:
    """A client's secrets. Raises ManifestError naming those that are still missing."""
    client = loaded.manifest.client(slug)
    store = secrets.open_store(loaded.fleet.client(slug), secrets.identities())
    missing = [spec for spec in loaded.catalog.specs_of(client) if spec.name not in store.values]
    if given := [spec.name for spec in missing if spec.given]:
        raise ManifestError(f"{slug} has no {', '.join(given)} yet", hint=f"otobotctl secrets set {slug} {given[0]}")
    if missing:
        raise ManifestError(
            f"{slug} has no {', '.join(spec.name for spec in missing)} yet",
            hint=f"otobotctl client deploy {slug} mints them, and so does client create with the same values",
        )
    return store.values


def known(loaded: Loaded, slug: str) -> Mapping[str, secrets.Secret]:
    """A client's secrets as they are, whatever else it needs."""
    return secrets.open_store(loaded.fleet.client(slug), secrets.identities()).values


def listed(fleet: Fleet, slug: str) -> tuple[SecretRow, ...]:
    """A client's secrets without their values; needs no key."""
    load(fleet).manifest.client(slug)
    return tuple(
        SecretRow(slug, entry.name, entry.kind, entry.created, entry.fingerprint)
        for entry in secrets.read_metadata(fleet.client(slug))
    )


def standings(fleet: Fleet, slug: str | None = None) -> Standings:
    """How old each secret of a client, or of every one, is and may be. Needs no key."""
    loaded = load(fleet)
    clients = [loaded.manifest.client(slug)] if slug else loaded.manifest.clients.values()
    now = datetime.now(UTC)
    found = tuple(
        each
        for client in clients
        for each in policy.standings(
            client.slug,
            secrets.read_metadata(fleet.client(client.slug)),
            loaded.catalog.specs_of(client),
            now,
        )
    )
    return Standings(sum(each.overdue for each in found), found)


def shown(fleet: Fleet, slug: str, name: str) -> secrets.Secret:
    """One value. Raises UsageError naming those that there are."""
    load(fleet).manifest.client(slug)
    store = secrets.open_store(fleet.client(slug), secrets.identities())
    found = store.values.get(name)
    if found is None or not found.reveal():
        named = [other for other, value in sorted(store.values.items()) if value.reveal()]
        raise UsageError(f"{slug} has no secret {name}", hint=f"its secrets are: {', '.join(named)}")
    return found


def replacing(fleet: Fleet, slug: str, name: str) -> Replacing:
    """What `set_given` would replace; needs no key. Raises UsageError: no such secret, or it is being rotated."""
    spec = _spec(load(fleet), slug, name)
    known = {each.name for each in secrets.read_metadata(fleet.client(slug))}
    if secrets.previous(name) in known:
        raise UsageError(f"{name} is being rotated", hint=f"otobotctl secrets rotate {slug} --resume")
    there = name in known
    return Replacing(there, spec.because if there and spec.rotation in {"refused", "repositories"} else "")


def _spec(loaded: Loaded, slug: str, name: str) -> SecretSpec:
    specs = {spec.name: spec for spec in loaded.catalog.specs_of(loaded.manifest.client(slug))}
    if name not in specs:
        hint = f"its secrets are: {', '.join(sorted(specs))}"
        raise UsageError(f"no service of {slug} has a secret {name}", hint=hint)
    return specs[name]


def set_given(fleet: Fleet, slug: str, name: str, value: str) -> SecretRow:
    """Seal a value that only a person can tell. Raises UsageError as `replacing`, and for an empty value."""
    loaded = load(fleet)
    spec = _spec(loaded, slug, name)
    if not value:
        raise UsageError(f"the value of {name} is empty; nothing was changed", hint="give it on stdin")
    with secrets.locked(fleet.client(slug)):
        store = secrets.open_store(fleet.client(slug), secrets.identities())
        if secrets.previous(name) in store.values:
            raise UsageError(f"{name} is being rotated", hint=f"otobotctl secrets rotate {slug} --resume")
        store = secrets.set_given(store, spec, value, datetime.now(UTC))
        secrets.save(fleet.client(slug), store, loaded.manifest.recipients)
    return next(row for row in listed(fleet, slug) if row.name == name)
