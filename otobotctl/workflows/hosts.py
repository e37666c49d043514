"""`host add`, `list`, `remove`, `trust`: the manifest's side of a host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from otobotctl import manifest
from otobotctl.errors import HostKeyError
from otobotctl.render.catalog import load_catalog
from otobotctl.transport import given, hostkeys
from otobotctl.transport.target import Target
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from collections.abc import Callable

    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class HostRow:
    """A host as `host list` shows it."""

    name: str
    address: str
    user: str
    port: int
    jump: str | None
    tags: tuple[str, ...]
    trusted: bool


@dataclass(frozen=True)
class Trusted:
    """A pinned key."""

    host: str
    fingerprint: str
    already: bool


def add(
    fleet: Fleet,
    name: str,
    *,
    address: str,
    user: str | None,
    port: int | None,
    jump: str | None,
    tags: tuple[str, ...],
    docker: str | None,
) -> HostRow:
    """Register a host. The same call twice changes nothing; another host of that name is refused."""
    entry: dict[str, Any] = {
        "address": address,
        "user": user,
        "port": port,
        "jump": jump,
        "tags": list(tags) or None,
        "docker": docker,
    }
    said = {key: value for key, value in entry.items() if value is not None}
    manifest.add_host(fleet.manifest, name, said, load_catalog().service_shapes())
    return next(row for row in listed(fleet) if row.name == name)


def listed(fleet: Fleet) -> tuple[HostRow, ...]:
    """Every host of the manifest."""
    pinned = hostkeys.pinned_names(fleet.known_hosts)
    return tuple(
        HostRow(h.name, h.address, h.user, h.port, h.jump, h.tags, h.name in pinned)
        for h in load(fleet).manifest.hosts.values()
    )


def remove(fleet: Fleet, name: str) -> HostRow:
    """Take a host out of the manifest; refused while a client lives on it or another host goes through it."""
    load(fleet).manifest.host(name)
    row = next(row for row in listed(fleet) if row.name == name)
    manifest.remove_host(fleet.manifest, name)
    hostkeys.unpin(fleet.known_hosts, name)
    return row


def trust(fleet: Fleet, name: str, *, expected: str | None, agree: Callable[[str, str | None], None]) -> Trusted:
    """Pin the key that the host shows.

    `expected` is the fingerprint the operator has from elsewhere; without it `agree(offered, pinned)` raises where the
    operator does not agree. Raises HostKeyError when the host shows another key than the expected one.
    """
    wanted = target(load(fleet), name)
    offered = hostkeys.fetch_keys(wanted, expected=expected)
    pinned = hostkeys.pinned(fleet.known_hosts, name)
    old = pinned[0].fingerprint if pinned else None
    if expected is not None:
        key = next((key for key in offered if key.fingerprint == expected), None)
        if key is None:
            raise HostKeyError(
                f"{name} shows {', '.join(k.fingerprint for k in offered)}, not {expected}",
                hint="compare with your provider's console; do not go on before they agree",
            )
    else:
        key = offered[0]
        agree(key.fingerprint, old)
    hostkeys.pin(fleet.known_hosts, name, key)
    return Trusted(name, key.fingerprint, key.fingerprint == old)


def target(loaded: Loaded, name: str) -> Target:
    """How to reach a host, jump hosts included."""
    host = loaded.manifest.host(name)
    return Target(
        name=host.name,
        address=host.address,
        user=host.user,
        port=host.port,
        jump=target(loaded, host.jump) if host.jump else None,
        known_hosts=loaded.fleet.known_hosts,
        identity=given.identity(),
    )
