"""The applications of a client at providers."""

from __future__ import annotations

import asyncio

import pytest

from otobotctl.vault_api.errors import Problem
from otobotctl.vault_api.oauth import applications
from otobotctl.vault_api.oauth.requests import Client

from .conftest import BY
from .readers import until


def test_of_two_that_are_stored_at_once_the_second_is_refused(place, patient):
    """One is active for a service: the second waits for the first, and is told that there is one now."""

    async def run():
        async with place.opened() as vault:
            with place.database() as first, first.transaction():
                first.execute(
                    "INSERT INTO oauth_applications (client_id, service_code, app_name, encrypted_client_id)"
                    " SELECT id, 'stub', 'first', 'x' FROM clients"
                )
                second = asyncio.ensure_future(applications.save(vault, "stub", "second", Client("i", "s"), BY))
                locked = (
                    "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
                )
                await until(lambda: place.ask(locked) or second.done())
            with pytest.raises(Problem) as caught:
                await second
            assert (caught.value.status, caught.value.code) == (409, "oauth_app_exists")

    asyncio.run(run())
    assert place.ask("SELECT app_name FROM oauth_applications WHERE is_active") == [("first",)]
