"""Migrations and grants on a real PostgreSQL."""

from __future__ import annotations

import threading
from dataclasses import replace

import psycopg
import pytest

from otobotctl.vault_api.configuration import Hidden, Settings
from otobotctl.vault_api.database import conninfo
from otobotctl.vault_api.schema import Migration, SchemaError, migrate, migrations
from tests.vault_api.conftest import new_environment


def as_runtime(settings):
    return psycopg.connect(conninfo(settings, settings.runtime), autocommit=True)


def as_owner(settings):
    return psycopg.connect(conninfo(settings, settings.owner), autocommit=True)


@pytest.fixture(scope="module")
def migrated(postgres):
    """The settings of a database that is up to date."""
    settings = Settings.from_environment(new_environment(postgres))
    migrate(settings)
    return settings


def test_migrations_are_applied_once(settings):
    """The first call applies every file, the second none."""
    assert migrate(settings) == tuple(migration.name for migration in migrations())
    assert migrate(settings) == ()


def test_versions_are_consecutive():
    """The files are numbered from 1 without a gap, so that none can be inserted behind an applied one."""
    assert [migration.version for migration in migrations()] == list(range(1, len(migrations()) + 1))


def test_two_starts_at_once_apply_once(settings):
    """Vaults that start together wait for each other; every migration is applied by exactly one."""
    results = []
    starters = [threading.Thread(target=lambda: results.append(migrate(settings))) for _ in range(4)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join()
    assert sorted(map(len, results)) == [0, 0, 0, len(migrations())]


def test_a_failing_migration_leaves_nothing(settings):
    """A file that fails half way is rolled back whole; the ones before it stay, and a mended one applies."""
    broken = (*migrations(), Migration(99, "0099_broken", "CREATE TABLE half (id int); SELECT 1/0;"))
    with pytest.raises(psycopg.errors.DivisionByZero):
        migrate(settings, shipped=broken)
    with as_owner(settings) as connection:
        assert connection.execute("SELECT to_regclass('vault.half')").fetchone() == (None,)
        assert connection.execute("SELECT max(version) FROM schema_migrations").fetchone() == (len(migrations()),)
    mended = (*migrations(), Migration(99, "0099_broken", "CREATE TABLE half (id int);"))
    assert migrate(settings, shipped=mended) == ("0099_broken",)


def test_a_changed_file_is_refused(settings):
    """An applied migration whose text changed stops the start and is named."""
    migrate(settings)
    changed = (replace(migrations()[0], text="SELECT 1"), *migrations()[1:])
    with pytest.raises(SchemaError, match="0001_initial was applied with other contents"):
        migrate(settings, shipped=changed)


def test_another_master_key_is_refused_at_start(settings):
    """A database sealed under one key does not start under another, and says which variable is wrong."""
    migrate(settings)
    with pytest.raises(SchemaError, match="ENCRYPTION_MASTER_KEY is not the key"):
        migrate(replace(settings, master_keys=(Hidden("ab" * 32),)))
    assert migrate(settings) == ()


def test_no_database_is_a_clear_error(settings):
    """A wrong password ends in SchemaError after the wait; its text holds no value."""
    wrong = replace(settings, owner=replace(settings.owner, password=Hidden("WRONG-VALUE")))
    with pytest.raises(SchemaError, match="no connection to the database as its owner") as raised:
        migrate(wrong, wait_s=0)
    assert "WRONG-VALUE" not in str(raised.value)


@pytest.mark.parametrize("statement", [
    "CREATE TABLE mine (id int)", "CREATE TABLE public.mine (id int)", "CREATE SCHEMA mine", "DROP TABLE client_connections",
    "ALTER TABLE users ADD COLUMN x int", "UPDATE credential_access_logs SET accessed_by = 'x'",
    "DELETE FROM credential_access_logs", "TRUNCATE credential_access_logs", "UPDATE audit_streams SET heads = ''",
    "DELETE FROM audit_streams", "UPDATE schema_migrations SET checksum = ''", "UPDATE encryption_keys SET proof = ''",
    "DELETE FROM encryption_keys", "UPDATE clients SET slug = 'x'", "INSERT INTO services VALUES ('x', 'x')",
    "INSERT INTO clients (slug) VALUES ('other')",
])  # fmt: skip
def test_the_runtime_role_cannot(migrated, statement):
    """No schema change, no changing of the audit, of proofs, or of who the client is."""
    with as_runtime(migrated) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute(statement)


def test_a_row_cannot_point_into_another_client(settings):
    """A connection whose user belongs to another client is refused by the database itself."""
    migrate(settings)
    migrate(replace(settings, client="other"))
    user = "00000000-0000-4000-8000-000000000001"
    with as_owner(settings) as connection:
        ids = dict(connection.execute("SELECT slug, id FROM clients").fetchall())
        connection.execute(
            "INSERT INTO users (client_id, id, email) VALUES (%s, %s, 'a@b.example')", (ids["other"], user)
        )
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            connection.execute(
                "INSERT INTO client_connections (client_id, id, user_id, service_code, encrypted_api_key)"
                " VALUES (%s, gen_random_uuid(), %s, 'google', 'x')",
                (ids["acme"], user),
            )


def test_who_was_erased_is_erased_again_before_anybody_is_answered(settings):
    """A restored archive brings a person back, and the erasure with it: the migration empties what it says of him."""
    migrate(settings)
    client, person, other = (f"{digit * 8}-0000-4000-8000-{digit * 12}" for digit in "abc")
    with as_owner(settings) as connection:
        connection.execute("INSERT INTO clients (id, slug) VALUES (%s, 'acme-2')", (client,))
        for user in (person, other):
            connection.execute(
                "INSERT INTO users (client_id, id, email) VALUES (%s, %s, %s)", (client, user, f"{user}@acme.example")
            )
            connection.execute(
                "INSERT INTO client_connections (client_id, id, user_id, service_code, encrypted_api_key)"
                " VALUES (%s, gen_random_uuid(), %s, 'openai', '1:a:b:c')",
                (client, user),
            )
        connection.execute("INSERT INTO erasures (client_id, user_id) VALUES (%s, %s)", (client, person))
    migrate(settings)
    migrate(settings)
    with as_owner(settings) as connection:
        people = connection.execute("SELECT id::text, email, erased_at IS NULL FROM users ORDER BY id").fetchall()
        left = connection.execute("SELECT user_id::text FROM client_connections").fetchall()
    assert people == [(person, f"{person}@erased.invalid", False), (other, f"{other}@acme.example", True)]
    assert left == [(other,)]
