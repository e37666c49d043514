"""`gpu keys add`, `list`, `rotate`, `revoke`: who may ask IA Interne.

A key is a secret of its client, sealed in the client's store; the manifest lists who may use one, and GPU hosts get
their digests. So each of the three is true by itself at any moment, and the same command again makes the rest true.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl import secrets
from otobotctl.errors import DriftError, UsageError
from otobotctl.render import ia_keys
from otobotctl.render.ia_keys import CHAT, key_name
from otobotctl.secrets import course
from otobotctl.secrets.mint import mint
from otobotctl.workflows import converging
from otobotctl.workflows.desired import load
from otobotctl.workflows.fleetwide import failure
from otobotctl.workflows.gpu.hosts import change, gpu_of, named, written
from otobotctl.workflows.gpu.telling import KEYS, tell

if TYPE_CHECKING:
    from collections.abc import Callable

    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.render.service import ServiceTemplate
    from otobotctl.secrets import SecretSpec, SecretStore
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class Key:
    """A key as it may be shown. `state`: missing, valid, or rotating: the value before is accepted too."""

    client: str
    purpose: str
    hosts: tuple[str, ...]
    state: str
    created: str
    per_minute: int


@dataclass(frozen=True)
class Changed:
    """What a call did: the GPU hosts that know it now, and what is to be done next, "" for nothing."""

    client: str
    purpose: str
    hosts: tuple[str, ...]
    next: str


class Keys:
    """One call about one client's key for one purpose."""

    def __init__(
        self,
        fleet: Fleet,
        slug: str,
        purpose: str,
        listener: Listener,
        password: Password | None = None,
        host: str | None = None,
    ) -> None:
        self._fleet = fleet
        self._slug = slug
        self._purpose = purpose
        self._listener = listener
        self._password = password
        self._loaded: Loaded = load(fleet)
        self._loaded.manifest.client(slug)
        self._hosts = _hosts(self._loaded, host)

    @property
    def name(self) -> str:
        """The secret's name."""
        return key_name(self._purpose)

    def add(self, per_minute: int | None = None) -> Changed:
        """Mint the key where there is none, list its client as a caller, and tell the GPU hosts."""
        self._store(self._minted)
        for host in self._hosts:
            entry = written(self._loaded, host)
            callers = dict(entry.get("callers", {}))
            caller = dict(callers.get(self._slug, {}))
            before = caller.get("purposes", [CHAT]) if self._slug in callers else []
            caller["purposes"] = list(dict.fromkeys((*before, self._purpose)))
            caller |= {} if per_minute is None else {"per_minute": per_minute}
            change(self._fleet, host, {**entry, "callers": {**callers, self._slug: caller}})
        self._tell_hosts()
        return Changed(self._slug, self._purpose, self._hosts, self._next())

    def rotate(self) -> Changed:
        """Mint another value; the one before stays accepted until `finish`. Raises UsageError: it is being rotated."""
        self._listed()
        self._store(lambda store: secrets.rotate(store, self._spec(), _now()))
        self._tell_hosts()
        again = f"otobotctl gpu keys rotate {self._slug} --purpose {self._purpose} --finish"
        return Changed(self._slug, self._purpose, self._hosts, f"{self._next()}; then: {again}")

    def finish(self) -> Changed:
        """End the value before. Raises UsageError: it is not being rotated; DriftError: the new one is not deployed."""
        self._listed()
        stage = course.stage(self._opened(), self.name)
        if stage is course.Stage.SETTLED:
            hint = f"otobotctl gpu keys rotate {self._slug} --purpose {self._purpose}"
            raise UsageError(f"the key of {self._slug} for {self._purpose} is not being rotated", hint=hint)
        self._deployed()
        if stage is not course.Stage.RETIRED:
            self._store(lambda store: secrets.retire(store, self.name))
        self._tell_hosts()
        self._store(lambda store: secrets.settle(store, self.name))
        return Changed(self._slug, self._purpose, self._hosts, "")

    def revoke(self) -> Changed:
        """Take the client off the list for this purpose, tell the hosts, and only then forget the key."""
        for host in self._hosts:
            entry = written(self._loaded, host)
            callers = dict(entry.get("callers", {}))
            if self._slug not in callers:
                continue
            kept = [each for each in callers[self._slug].get("purposes", [CHAT]) if each != self._purpose]
            others = {slug: caller for slug, caller in callers.items() if slug != self._slug}
            callers = {**callers, self._slug: {**callers[self._slug], "purposes": kept}} if kept else others
            change(self._fleet, host, {**entry, "callers": callers})
        self._tell_hosts()
        # Another GPU host may still be meant to accept it.
        if not any(self._is_listed(host) for host in named(load(self._fleet))):
            self._store(self._forgotten)
        return Changed(self._slug, self._purpose, self._hosts, self._next() if self._stored() else "")

    def _listed(self) -> None:
        self._hosts = tuple(host for host in self._hosts if self._is_listed(host))
        if not self._hosts:
            hint = f"otobotctl gpu keys add {self._slug} --purpose {self._purpose}"
            raise UsageError(f"{self._slug} has no key for {self._purpose}", hint=hint)

    def _is_listed(self, host: str) -> bool:
        caller = gpu_of(load(self._fleet), host).callers.get(self._slug)
        return caller is not None and self._purpose in caller.purposes

    def _deployed(self) -> None:
        """Whoever uses the key must have the new value before the one before ends."""
        if self._service() and converging.plan_client(self._fleet, self._slug, self._password).steps:
            hint = f"otobotctl deploy {self._slug}"
            raise DriftError(f"{self._slug} is not deployed with its new key; both stay valid", hint=hint)

    def _service(self) -> ServiceTemplate | None:
        """The client's service that a deploy gives this key to; a purpose of somebody's own has none."""
        services = map(self._loaded.catalog.service, self._loaded.manifest.client(self._slug).services)
        return next((service for service in services if service.ia == self._purpose), None)

    def _stored(self) -> bool:
        """Whether a deploy stores it inside of a service, which no other release takes away again."""
        service = self._service()
        return service is not None and self.name not in service.secrets

    def _next(self) -> str:
        if self._service():
            return f"otobotctl deploy {self._slug}"
        return f"otobotctl secrets show {self._slug} {self.name}"

    def _minted(self, store: SecretStore) -> SecretStore:
        if self.name in store.values and store.values[self.name].reveal():
            return store
        spec = self._spec()
        return store.with_secret(spec, mint(spec.kind, os.urandom), _now())

    def _forgotten(self, store: SecretStore) -> SecretStore:
        """Without its values. What a deploy has stored for it a deploy also removes: an empty entry tells it to."""
        former = secrets.previous(self.name)
        store = store.without(former) if former in store.values else store
        if self.name not in store.values:
            return store
        if not self._stored():
            return store.without(self.name)
        return store.replaced(store.metadata[self.name], "") if store.values[self.name].reveal() else store

    def _spec(self) -> SecretSpec:
        """What the client's own services say of it, or what this command made."""
        client = self._loaded.manifest.client(self._slug)
        own = {spec.name: spec for spec in self._loaded.catalog.specs_of(client)}
        return own.get(self.name) or ia_keys.spec(self._slug, self._purpose)

    def _opened(self) -> SecretStore:
        return secrets.open_store(self._fleet.client(self._slug), secrets.identities())

    def _store(self, changed: Callable[[SecretStore], SecretStore]) -> None:
        with secrets.locked(self._fleet.client(self._slug)):
            store = self._opened()
            made = changed(store)
            if made is not store:
                secrets.save(self._fleet.client(self._slug), made, self._loaded.manifest.recipients)

    def _tell_hosts(self) -> None:
        """All of them, whoever is away. Raises PartialError naming those that were not told."""
        told = tell(load(self._fleet), self._hosts, KEYS, self._listener, self._password)
        failed = failure(told)
        if failed is not None:
            raise failed


def listed(fleet: Fleet) -> tuple[Key, ...]:
    """Every key that the manifest lists; needs no key to open the secrets."""
    loaded = load(fleet)
    found: dict[tuple[str, str], list[str]] = {}
    limits: dict[tuple[str, str], int] = {}
    for host in named(loaded):
        for slug, caller in gpu_of(loaded, host).callers.items():
            for purpose in caller.purposes:
                found.setdefault((slug, purpose), []).append(host)
                limits[slug, purpose] = caller.per_minute
    return tuple(_shown(loaded, *each, tuple(found[each]), limits[each]) for each in sorted(found))


def _shown(loaded: Loaded, slug: str, purpose: str, hosts: tuple[str, ...], per_minute: int) -> Key:
    known: dict[str, Any] = {each.name: each for each in secrets.read_metadata(loaded.fleet.client(slug))}
    name = key_name(purpose)
    entry = known.get(name)
    state = "missing" if entry is None else "rotating" if secrets.previous(name) in known else "valid"
    return Key(slug, purpose, hosts, state, entry.created if entry else "", per_minute)


def _hosts(loaded: Loaded, host: str | None) -> tuple[str, ...]:
    if host is not None:
        gpu_of(loaded, host)
        # Those of one name answer for each other: who may ask one of them may ask all.
        return tuple(peer.name for peer in loaded.manifest.host(host).pool) or (host,)
    found = named(loaded)
    if not found:
        raise UsageError("the fleet has no GPU host yet", hint="otobotctl gpu setup HOST --domain ... --email ...")
    return found


def _now() -> datetime:
    return datetime.now(UTC)
