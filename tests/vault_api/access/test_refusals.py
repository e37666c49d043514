"""Who asks too often is in the audit, once in a while for each, so that nobody fills it."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import psycopg
import pytest

from otobotctl.vault_api import contract
from otobotctl.vault_api import contract_people as people
from otobotctl.vault_api.actor import ANONYMOUS, INTERNAL
from otobotctl.vault_api.refusals import EVERY_S, MOST, Refusals
from tests.vault_api.access.conftest import opened
from tests.vault_api.conftest import new_environment

STRANGER, OTHER = "198.51.100.7", "2001:db8::1"


@pytest.fixture(scope="module")
def strict(postgres, runner, log):
    """A vault whose limits are met at once."""
    limits = {"VAULT_PUBLIC_RATE": "3/15minutes", "VAULT_INTERNAL_RATE": "2/hour"}
    made = opened(runner, new_environment(postgres) | limits, log)
    yield made
    made.close()


def noted(house):
    """(who, address, route) of every entry about a limit."""
    rows = house.run(
        house.vault.database.all(
            "SELECT accessed_by, address, details ->> 'route', outcome FROM credential_access_logs"
            " WHERE access_type = 'limit' ORDER BY id"
        )
    )
    assert all(row[3] == "refused" for row in rows)
    return [row[:3] for row in rows]


def test_the_first_refusal_of_each_is_in_the_audit(strict):
    """Guesses by token and by password, and n8n over its own limit: one entry for each caller and route."""
    for address in (STRANGER, OTHER):
        asked = [
            strict.ask("GET", contract.SERVICES_PATH, headers={contract.TOKEN_HEADER: "x" * 48}, address=address).status
            for _ in range(6)
        ]
        assert asked == [401] * 3 + [429] * 3
    login = {"email": "nobody@acme.example", "password": "Wrong-Horse-8"}
    assert [strict.ask("POST", people.LOGIN_PATH, login, address=STRANGER).status for _ in range(5)][3:] == [429] * 2
    internal = {contract.TOKEN_HEADER: strict.environment["N8N_INTERNAL_TOKEN"]}
    assert [strict.ask("GET", contract.SERVICES_PATH, headers=internal).status for _ in range(4)][2:] == [429] * 2
    assert noted(strict) == [
        ("anonymous", STRANGER, "services"),
        ("anonymous", OTHER, "services"),
        ("anonymous", STRANGER, "login"),
        ("internal:n8n", "192.0.2.10", "services"),
    ]


class Kept:
    """An audit that keeps entries in memory, or fails."""

    def __init__(self):
        self.entries, self.away = [], False

    async def record(self, entry):
        if self.away:
            raise psycopg.OperationalError
        self.entries.append(entry)


def test_an_attack_fills_neither_the_audit_nor_the_memory():
    """One entry in a quarter of an hour for a caller and route; of a whole /64 too; ten thousand callers are remembered."""
    now, audit = [0.0], Kept()
    refusals = Refusals(audit, lambda: now[0])

    async def test():
        for _ in range(100):
            await refusals.note("login", ANONYMOUS, uuid4(), "2001:db8::1")
            await refusals.note("login", ANONYMOUS, uuid4(), "2001:db8::ffff")
        await refusals.note("login", INTERNAL, uuid4(), "2001:db8::1")
        await refusals.note("refresh", ANONYMOUS, uuid4(), "2001:db8::1")
        assert len(audit.entries) == 3
        now[0] = EVERY_S
        await refusals.note("login", ANONYMOUS, uuid4(), "2001:db8::1")
        assert len(audit.entries) == 4
        for number in range(MOST + 10):
            await refusals.note("login", ANONYMOUS, uuid4(), f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        assert len(refusals._noted) == MOST

    asyncio.run(test())


def test_a_refusal_that_cannot_be_written_down_stays_a_refusal():
    """The database is away: no error, and the next refusal is noted."""
    audit = Kept()
    refusals = Refusals(audit)

    async def test():
        audit.away = True
        await refusals.note("login", ANONYMOUS, uuid4(), STRANGER)
        audit.away = False
        await refusals.note("login", ANONYMOUS, uuid4(), STRANGER)

    asyncio.run(test())
    assert len(audit.entries) == 1
