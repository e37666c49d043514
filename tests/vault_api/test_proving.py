"""A restored database is proved by opening what is in it."""

from __future__ import annotations

import json
import secrets

from tests.vault_api.test_rewrap import fill, rotated


def prove(fresh):
    """What it answers, and its exit code."""
    ran = fresh.run("prove")
    return (json.loads(ran.stdout) if ran.stdout else None), ran.returncode


def uses(fresh):
    with fresh.database() as connection:
        return connection.execute("SELECT version, uses FROM encryption_keys ORDER BY 1").fetchall()


def test_what_is_stored_opens_with_the_keys_that_are_here(fresh):
    """Values of both key versions are opened; none is shown, and no use is counted."""
    fill(fresh)
    rotated(fresh)
    before = uses(fresh)
    answer, status = prove(fresh)
    assert (answer, status) == ({"stored": 9, "opened": 9, "failed": 0}, 0)
    assert uses(fresh) == before


def test_a_value_that_was_moved_to_another_row_is_told(fresh):
    """The key is right and the value is not where it belongs."""
    fill(fresh)
    with fresh.database() as connection:
        connection.execute(
            "UPDATE client_connections SET encrypted_api_key ="
            " (SELECT encrypted_api_key FROM client_connections WHERE service_code = 'slack')"
            " WHERE service_code = 'google'"
        )
    answer, status = prove(fresh)
    assert (answer, status) == ({"stored": 9, "opened": 8, "failed": 1}, 1)


def test_another_key_proves_nothing(fresh):
    """The database is there, and nobody opens it."""
    fill(fresh)
    fresh.environment |= {"ENCRYPTION_MASTER_KEY": secrets.token_hex(32)}
    assert prove(fresh) == (None, 1)
