"""A client's secrets in memory. Pure: changes give a new store, and randomness comes from outside."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NoReturn

import msgspec

from otobotctl import shapes
from otobotctl.errors import UsageError
from otobotctl.secrets.metadata import Metadata, moment
from otobotctl.secrets.mint import mint
from otobotctl.secrets.model import Secret, SecretSpec, previous

_SALT_BYTES = 32


class SecretStore:
    """The secrets of one client and what is known about each, by name. Printing it shows no value."""

    __slots__ = ("_salt", "metadata", "recipients", "values")

    values: Mapping[str, Secret]
    metadata: Mapping[str, Metadata]
    recipients: tuple[str, ...]
    _salt: Secret

    def __init__(
        self, salt: Secret, values: Mapping[str, Secret], metadata: Mapping[str, Metadata], recipients: tuple[str, ...]
    ) -> None:
        self._salt = salt
        self.values = MappingProxyType(dict(values))
        self.metadata = MappingProxyType(dict(metadata))
        self.recipients = recipients

    def __repr__(self) -> str:
        return f"SecretStore({', '.join(self.values)})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a SecretStore cannot be pickled")

    def sealed_for(self, recipients: tuple[str, ...]) -> SecretStore:
        """Return the same secrets for other recipients."""
        return SecretStore(self._salt, self.values, self.metadata, recipients)

    def with_secret(self, spec: SecretSpec, value: str, now: datetime) -> SecretStore:
        """Return a store that holds `value` under the spec's name, created `now`."""
        known = Metadata(
            name=spec.name,
            kind=spec.kind,
            service=spec.service,
            created=moment(now),
            rotate_days=spec.rotate_days,
            given=spec.given or spec.kind == "given",
            description=spec.description,
            turn=self.metadata[spec.name].turn if spec.name in self.metadata else 0,
        )
        return self.replaced(known, value)

    def replaced(self, known: Metadata, value: str) -> SecretStore:
        """Return a store that holds `value`, of which this is known but for its fingerprint."""
        known = msgspec.structs.replace(known, fingerprint=self._fingerprint(known.name, value) if value else "")
        values = {**self.values, known.name: Secret(known.name, value, known.turn, known.fingerprint)}
        return SecretStore(self._salt, values, {**self.metadata, known.name: known}, self.recipients)

    def described(self, known: Metadata) -> SecretStore:
        """Return a store that knows this of the same value."""
        return self.replaced(known, self.values[known.name].reveal())

    def without(self, name: str) -> SecretStore:
        """Return a store that holds the others."""
        values = {other: value for other, value in self.values.items() if other != name}
        metadata = {other: known for other, known in self.metadata.items() if other != name}
        return SecretStore(self._salt, values, metadata, self.recipients)

    def _fingerprint(self, name: str, value: str) -> str:
        """Return digits that nobody can check a guess of the value against: the salt is sealed with the values."""
        message = f"{name}\0{value}".encode()
        return hmac.new(bytes.fromhex(self._salt.reveal()), message, hashlib.sha256).hexdigest()[:12]

    def reveal_all(self) -> dict[str, Any]:
        """Return everything in the clear, for sealing and nothing else."""
        secrets = {
            name: {"value": secret.reveal(), **self.metadata[name].said()} for name, secret in self.values.items()
        }
        return {"version": 1, "salt": self._salt.reveal(), "recipients": list(self.recipients), "secrets": secrets}


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    salt: str
    recipients: tuple[str, ...]
    secrets: dict[str, dict[str, str | int | bool | None]]


def empty(rng: Callable[[int], bytes] = os.urandom) -> SecretStore:
    """Return a store without secrets, with its own salt."""
    return SecretStore(Secret("salt", rng(_SALT_BYTES).hex()), {}, {}, ())


def from_revealed(raw: bytes) -> SecretStore:
    """Return the store whose `reveal_all` is in `raw`, as JSON.

    Raises:
        ValueError: it is not; nothing of it is in the message.
    """
    try:
        sealed = shapes.decode(raw, _Sealed)
        bytes.fromhex(sealed.salt)
        known = {
            name: shapes.convert({"name": name, **_without_value(fields)}, Metadata)
            for name, fields in sealed.secrets.items()
        }
        values = {
            name: Secret(name, str(sealed.secrets[name]["value"]), each.turn, each.fingerprint)
            for name, each in known.items()
        }
    except (msgspec.DecodeError, ValueError, KeyError):
        raise ValueError("not what otobotctl seals") from None
    return SecretStore(Secret("salt", sealed.salt), values, known, sealed.recipients)


def mint_missing(
    store: SecretStore, specs: Iterable[SecretSpec], now: datetime, rng: Callable[[int], bytes] = os.urandom
) -> tuple[SecretStore, tuple[str, ...]]:
    """Return the store with every secret that a machine can make, and the names of the new ones.

    What exists is never touched, and what only a person can tell is left out. `rng(n)` gives n random bytes.
    """
    minted: list[str] = []
    for spec in specs:
        if spec.name in store.values or spec.given or spec.kind == "given":
            continue
        store = store.with_secret(spec, mint(spec.kind, rng), now)
        minted.append(spec.name)
    return store, tuple(minted)


def set_given(store: SecretStore, spec: SecretSpec, value: str, now: datetime) -> SecretStore:
    """Return the store with a value that a person told on stdin; one line break at its end is not part of it.

    Raises:
        UsageError: the value is empty or holds a NUL.
    """
    plain = value.removesuffix("\n").removesuffix("\r")
    if not plain:
        raise UsageError(f"the value of {spec.name} is empty", hint="give it on stdin")
    if "\0" in plain:
        raise UsageError(f"the value of {spec.name} holds a NUL byte", hint="give text on stdin")
    return store.with_secret(spec, plain, now)


def rotate(
    store: SecretStore, spec: SecretSpec, now: datetime, rng: Callable[[int], bytes] = os.urandom
) -> SecretStore:
    """Return the store with a new value of this secret, and the one before under `NAME_PREVIOUS`.

    Raises:
        UsageError: it is being rotated already; the value before is still needed.
    """
    name = previous(spec.name)
    if name in store.values:
        raise UsageError(f"{spec.name} is being rotated already", hint="run the command that rotates it again")
    known = store.metadata[spec.name]
    before = msgspec.structs.replace(known, name=name, rotate_days=None, description="The value before, until it goes.")
    kept = store.replaced(before, store.values[spec.name].reveal())
    made = kept.with_secret(spec, mint(spec.kind, rng), now)
    if spec.rotation != "pair":
        return made
    return made.described(msgspec.structs.replace(made.metadata[spec.name], turn=1 - known.turn))


def hold(store: SecretStore, name: str, until: datetime) -> SecretStore:
    """Return the store that knows: the new value is in use, and the one before may be retired from `until` on."""
    return store.described(msgspec.structs.replace(store.metadata[previous(name)], until=moment(until)))


def undo(store: SecretStore, name: str) -> SecretStore:
    """Return the store with the value before in the new one's place, and that one in its. Both stay accepted.

    Raises:
        UsageError: no rotation is under way that could be undone.
    """
    if not rotating(store, name):
        raise UsageError(f"{name} is not being rotated, or its value before is gone already")
    new, old = store.metadata[name], store.metadata[previous(name)]
    values = store.values[name].reveal(), store.values[previous(name)].reveal()
    back = msgspec.structs.replace(new, created=old.created, turn=old.turn, exposed=old.exposed)
    store = store.replaced(back, values[1])
    return store.replaced(
        msgspec.structs.replace(old, created=new.created, turn=new.turn, until="", exposed=""), values[0]
    )


def expose(store: SecretStore, now: datetime, names: Collection[str] | None = None) -> SecretStore:
    """Return the store that knows: somebody who should not any more knows each of its values, those before too.

    `names`: of these secrets alone.
    """
    for known in store.metadata.values():
        if names is not None and known.name not in names:
            continue
        if not known.exposed and store.values[known.name].reveal():
            store = store.described(msgspec.structs.replace(known, exposed=moment(now)))
    return store


def retire(store: SecretStore, name: str) -> SecretStore:
    """Return the store without the value before. Its entry stays, empty, until `settle`: there is a deploy to come."""
    return store.replaced(msgspec.structs.replace(store.metadata[previous(name)], exposed="", until=""), "")


def settle(store: SecretStore, name: str) -> SecretStore:
    """Return the store without the entry of the value before. Raises UsageError: it still has that value."""
    if rotating(store, name):
        raise UsageError(f"{previous(name)} still has its value", hint="run the command that rotates it again")
    return store.without(previous(name))


def rotating(store: SecretStore, name: str) -> bool:
    """Whether the store keeps the value before of this secret."""
    kept = store.values.get(previous(name))
    return kept is not None and bool(kept.reveal())


def _without_value(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if name != "value"}
