"""The schema, brought up to date by the owner role: plain SQL files, in order, once each, under an advisory lock."""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from . import erasure, keys, logs, rewrap
from .chain import trim_proof
from .configuration import Settings
from .database import SCHEMA, conninfo
from .oauth import providers

Owner = psycopg.Connection[tuple[Any, ...]]
_HERE = Path(__file__).resolve().parent
_LOCK = 0x0B0B07  # any number that only the vault locks in this database
_LEDGER = """CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""


# The last row of each chain that is too old, if any.
_OLD = """
SELECT DISTINCT ON (l.stream) l.stream, l.sequence, l.mac
FROM credential_access_logs l JOIN clients k ON k.id = l.client_id
WHERE k.slug = %(client)s AND l.stream IS NOT NULL AND l.created_at < now() - make_interval(days => %(days)s)
ORDER BY l.stream, l.sequence DESC"""


class SchemaError(Exception):
    """The database cannot be brought to, or trusted as, what this version needs; the text holds no value."""


@dataclass(frozen=True)
class Migration:
    """One SQL file `NNNN_name.sql`."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        """Digest of the file, kept in the ledger: an applied migration may never change."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations(directory: Path = _HERE / "migrations") -> tuple[Migration, ...]:
    """Every migration this version ships, in order."""
    files = sorted(directory.glob("[0-9]*.sql"))
    return tuple(Migration(int(f.name.partition("_")[0]), f.stem, f.read_text(encoding="utf-8")) for f in files)


def migrate(settings: Settings, *, wait_s: float = 60, shipped: tuple[Migration, ...] | None = None) -> tuple[str, ...]:
    """Bring the database to this version and return the names applied now (none: it was there already).

    Raises:
        SchemaError: no connection within `wait_s`, an applied file has changed, other master keys were used before, or
            the file of further providers is not right.
    """
    try:
        known = providers.of(settings)
    except providers.ProvidersError as error:
        raise SchemaError(str(error)) from None
    with _connect(settings, wait_s) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))  # released with the session, also by a crash
        with connection.transaction():
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            connection.execute(_LEDGER)
        applied = _apply(connection, migrations() if shipped is None else shipped)
        with connection.transaction():
            _grant(connection, settings.runtime.user)
            _register_key(connection, settings)
            _list_services(connection, known)
        with connection.transaction():
            _forget(connection, settings)
        # Before anybody is answered: an archive that was restored may know people who were erased since.
        with connection.transaction():
            erased = erasure.again(connection)
        if erased:
            logs.event("erased_again", logging.WARNING, processed=erased)
        # A read's statement is planned once, when the vault connects: it must know by then which tables are large. A
        # restored database has no statistics, and without any the users of a whole company were looked through.
        connection.execute("ANALYZE users, client_connections")
    return applied


def _connect(settings: Settings, wait_s: float) -> Owner:
    # Notices ("already exists, skipping") would say nothing new at every start.
    if settings.owner is None:
        raise SchemaError("VAULT_OWNER_USER and VAULT_OWNER_PASSWORD are needed to migrate")
    address = conninfo(settings, settings.owner, "-c client_min_messages=warning")
    deadline = time.monotonic() + wait_s
    while True:
        try:
            return psycopg.connect(address, autocommit=True)
        except psycopg.OperationalError:
            if time.monotonic() > deadline:
                raise SchemaError("no connection to the database as its owner") from None
            logs.event("waiting_for_database", logging.WARNING)
            time.sleep(1)


def _apply(connection: Owner, shipped: tuple[Migration, ...]) -> tuple[str, ...]:
    done: dict[int, str] = dict(connection.execute("SELECT version, checksum FROM schema_migrations").fetchall())
    applied = []
    for migration in shipped:
        if migration.version in done:
            if done[migration.version] != migration.checksum:
                raise SchemaError(f"migration {migration.name} was applied with other contents; restore that file")
            continue
        with connection.transaction():
            connection.execute(migration.text.encode())
            connection.execute(
                "INSERT INTO schema_migrations (version, name, checksum) VALUES (%s, %s, %s)",
                (migration.version, migration.name, migration.checksum),
            )
        logs.event("migrated", migration=migration.name)
        applied.append(migration.name)
    return tuple(applied)


def _grant(connection: Owner, runtime: str) -> None:
    text = (_HERE / "grants.sql").read_text(encoding="utf-8")
    connection.execute(text.replace("{runtime}", sql.Identifier(runtime).as_string(connection)).encode())


def _list_services(connection: Owner, known: Mapping[str, providers.Provider]) -> None:
    """Make the table know what this version knows; a service that is gone stays, for the rows that name it."""
    for code, provider in known.items():
        connection.execute(
            """INSERT INTO services (code, display_name, oauth_type) VALUES (%s, %s, %s)
            ON CONFLICT (code) DO UPDATE SET
                display_name = EXCLUDED.display_name, oauth_type = EXCLUDED.oauth_type""",
            (code, provider.name, provider.kind),
        )


def _register_key(connection: Owner, settings: Settings) -> None:
    """Write a new master key's proof down before anything is sealed under it; refuse keys that do not fit."""
    connection.execute("INSERT INTO clients (slug) VALUES (%s) ON CONFLICT (slug) DO NOTHING", (settings.client,))
    ((client,),) = connection.execute("SELECT id FROM clients WHERE slug = %s", (settings.client,)).fetchall()
    where = keys.place(settings.client, client)
    rows = connection.execute("SELECT version, proof, retired_at FROM encryption_keys WHERE client_id = %s", (client,))
    known = rows.fetchall()
    proofs = {row[0]: row[1] for row in known}
    active = bytes.fromhex(settings.master_keys[0].reveal())
    found = keys.recognise(settings.master_keys, proofs, where)
    if active not in found.values() and (not proofs or found):
        # A first key, or a new one beside one that the database knows: never one that came alone.
        version = max(proofs, default=0) + 1
        proofs[version] = keys.proof_for(settings.master_keys[0], version, where)
        connection.execute(
            "INSERT INTO encryption_keys (client_id, version, proof) VALUES (%s, %s, %s)",
            (client, version, proofs[version]),
        )
        logs.event("key_registered", version=version)
    # A key that seals again, as after a store that was put back, is needed again until the next rewrap.
    again = [version for version, raw in found.items() if raw == active]
    connection.execute(
        "UPDATE encryption_keys SET retired_at = NULL WHERE client_id = %s AND version = ANY(%s)", (client, again)
    )
    lost = keys.unknown(settings.master_keys, known, where)
    if lost:
        lost &= {version for (version,) in connection.execute(rewrap.needed(), {"client": client})}
    try:
        keys.keyring(settings.master_keys, proofs, lost, where)
    except keys.KeysError as error:
        raise SchemaError(str(error)) from None


def _forget(connection: Owner, settings: Settings) -> None:
    """Delete audit rows that are older than the policy, from each chain's beginning, and leave a proof of it."""
    key = bytes.fromhex(settings.audit_key.reveal())
    chains = connection.execute(_OLD, {"days": settings.audit_days, "client": settings.client}).fetchall()
    for stream, sequence, mac in chains:
        connection.execute(
            "UPDATE audit_streams SET trimmed_to = %s, trimmed_mac = %s, trim_proof = %s WHERE id = %s",
            (sequence, mac, trim_proof(key, stream, sequence, mac), stream),
        )
        connection.execute(
            "DELETE FROM credential_access_logs WHERE stream = %s AND sequence <= %s", (stream, sequence)
        )
