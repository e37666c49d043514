"""The versions of the master key: which key is which, how often each was used, and which may go.

A key is known by a proof: a fixed text sealed under it, kept in `encryption_keys` before anything else is sealed. A
vault that is started with another key refuses at once instead of at the first read.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final
from uuid import UUID

from .crypto import ALLOWANCE, Keyring, Place, SealError

if TYPE_CHECKING:
    from .configuration import Hidden
    from .database import Database

MOST_USES: Final = 2**31  # half of what NIST SP 800-38D allows for random nonces
_PROOF = "otobot vault key"
Known = tuple[int, str, datetime | None]  # version, proof, when it was retired


class KeysError(Exception):
    """The configured keys do not fit the database; the text holds no value."""


def place(slug: str, client: UUID) -> Place:
    """Where a proof belongs."""
    return Place(slug, "", "", str(client), "encryption_keys.proof")


def recognise(keys: Sequence[Hidden], proofs: Mapping[int, str], where: Place) -> dict[int, bytes]:
    """Return the configured keys by their version; one that is new has none yet."""
    found: dict[int, bytes] = {}
    for key in keys:
        raw = bytes.fromhex(key.reveal())
        for version, proof in proofs.items():
            try:
                Keyring({version: raw}, version).open(proof, where)
            except SealError:
                continue
            found[version] = raw
    return found


def keyring(keys: Sequence[Hidden], proofs: Mapping[int, str], needed: Iterable[int], where: Place) -> Keyring:
    """Return the keyring that seals with the first of `keys`. `needed` are the versions that have to have a key.

    Raises:
        KeysError: that key is not registered, or a version that is still needed has no key.
    """
    found = recognise(keys, proofs, where)
    active = bytes.fromhex(keys[0].reveal())
    current = [version for version, raw in found.items() if raw == active]
    if not current:
        raise KeysError(
            "ENCRYPTION_MASTER_KEY is not the key this database was sealed with; "
            "put the right one back, or give the old one as ENCRYPTION_MASTER_KEY_PREVIOUS and run migrate"
        )
    lost = sorted(set(needed) - found.keys())
    if lost:
        raise KeysError(
            f"no key is configured for version {lost[0]}, which is still in use; "
            "give it as ENCRYPTION_MASTER_KEY_PREVIOUS"
        )
    return Keyring(found, current[0], allowance=0)


def unknown(keys: Sequence[Hidden], known: Iterable[Known], where: Place) -> frozenset[int]:
    """Return the versions in use that none of `keys` is, by their place in the table alone."""
    rows = tuple(known)
    found = recognise(keys, {row[0]: row[1] for row in rows}, where)
    return frozenset(row[0] for row in rows if not row[2]) - found.keys()


def proof_for(key: Hidden, version: int, where: Place) -> str:
    """The proof of a new version."""
    return Keyring({version: bytes.fromhex(key.reveal())}, version).seal(_PROOF, where)


async def load(database: Database, slug: str, keys: Sequence[Hidden], counted: int = ALLOWANCE) -> Keyring:
    """Return the keyring, with `counted` uses counted ahead. Raises KeysError, psycopg.Error or LookupError."""
    client = await database.client()
    rows = await database.all("SELECT version, proof, retired_at FROM encryption_keys WHERE client_id = %s", (client,))
    where = place(slug, client)
    lost = unknown(keys, rows, where)
    if lost:
        # A deploy that failed may have left a key behind that sealed nothing: the release before starts without it.
        from .rewrap import needed

        lost &= {version for (version,) in await database.all(needed(), {"client": client})}
    found = keyring(keys, {row[0]: row[1] for row in rows}, lost, where)
    if counted:
        await count(database, found, counted)
    return found


async def count(database: Database, ring: Keyring, wanted: int = ALLOWANCE) -> None:
    """Write `wanted` more uses of the current key down, then allow them. At MOST_USES nothing more is allowed."""
    row = await database.one(
        "UPDATE encryption_keys SET uses = uses + %s "
        "WHERE client_id = %s AND version = %s AND uses + %s <= %s RETURNING uses",
        (wanted, await database.client(), ring.current, wanted, MOST_USES),
    )
    if row is not None:
        ring.allowance += wanted
