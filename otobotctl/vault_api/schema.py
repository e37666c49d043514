"""The schema, brought up to date by the owner role: plain SQL files, in order, once each, under an advisory lock."""

from __future__ import annotations

import hashlib
import logging
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from . import logs
from .configuration import Login, Settings
from .crypto import Keyring, Place, SealError

SCHEMA = "vault"
Owner = psycopg.Connection[tuple[Any, ...]]
_HERE = Path(__file__).resolve().parent
_LOCK = 0x0B0B07  # any number that only the vault locks in this database
_PROOF = "otobot vault key"
_LEDGER = """CREATE TABLE IF NOT EXISTS schema_migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now()
)"""


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


def conninfo(settings: Settings, login: Login, options: str = "") -> str:
    """How psycopg connects as `login`, looking into the vault's schema only. Holds the password: never log it."""
    return make_conninfo(
        host=settings.host,
        port=settings.port,
        dbname=settings.database,
        user=login.user,
        password=login.password.reveal(),
        connect_timeout=5,
        application_name="otobot-vault-api",
        options=f"-c search_path={SCHEMA} -c timezone=UTC {options}".strip(),
    )


def migrate(
    settings: Settings, keyring: Keyring, *, wait_s: float = 60, shipped: tuple[Migration, ...] | None = None
) -> tuple[str, ...]:
    """Bring the database to this version and return the names applied now (none: it was there already).

    Raises:
        SchemaError: no connection within `wait_s`, an applied file has changed, or another master key was used before.
    """
    with _connect(settings, wait_s) as connection:
        connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))  # released with the session, also by a crash
        with connection.transaction():
            connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
            connection.execute(_LEDGER)
        applied = _apply(connection, migrations() if shipped is None else shipped)
        with connection.transaction():
            _grant(connection, settings.runtime.user)
            _prove_key(connection, settings.client, keyring)
    return applied


def _connect(settings: Settings, wait_s: float) -> Owner:
    # Notices ("already exists, skipping") would say nothing new at every start.
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


def _prove_key(connection: Owner, client: str, keyring: Keyring) -> None:
    connection.execute("INSERT INTO clients (slug) VALUES (%s) ON CONFLICT (slug) DO NOTHING", (client,))
    ((client_id,),) = connection.execute("SELECT id FROM clients WHERE slug = %s", (client,)).fetchall()
    place = Place(client, "", "", str(client_id), "encryption_keys.proof")
    connection.execute(
        "INSERT INTO encryption_keys (client_id, version, proof) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING",
        (client_id, keyring.current, keyring.seal(_PROOF, place)),
    )
    for (proof,) in connection.execute("SELECT proof FROM encryption_keys WHERE client_id = %s", (client_id,)):
        try:
            keyring.open(proof, place)
        except SealError as error:
            raise SchemaError(f"ENCRYPTION_MASTER_KEY is not the key this database was sealed with: {error}") from None
