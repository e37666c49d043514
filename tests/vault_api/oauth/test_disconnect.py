"""Taking a connection away."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest

from otobotctl.vault_api.connections import REFRESH_AHEAD, NewConnection, save
from otobotctl.vault_api.errors import Problem
from otobotctl.vault_api.oauth import lease, states
from otobotctl.vault_api.oauth.disconnect import disconnect
from otobotctl.vault_api.oauth.renewal import Outcome

from .conftest import BY
from .test_refresh import until


def outcomes(place):
    rows = place.ask("SELECT outcome FROM credential_access_logs WHERE access_type = 'disconnect' ORDER BY id")
    return [outcome for (outcome,) in rows]


def test_it_is_revoked_at_the_provider_then_deleted(place):
    """The refresh token is taken back, the row is gone, the audit says how it went."""

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            assert await disconnect(vault, connection, BY, user=user) == "revoked"

    asyncio.run(run())
    assert place.stub.revoked == ["refresh-SECRET-lea-1"]
    assert place.ask("SELECT count(*) FROM client_connections") == [(0,)]
    assert outcomes(place) == ["revoked"]


def test_only_ones_own(place):
    """Another user's connection is not found, and stays."""

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            for user in (uuid4(), await place.user(vault)):
                with pytest.raises(Problem) as caught:
                    await disconnect(vault, connection, BY, user=user)
                assert caught.value.status == 404

    asyncio.run(run())
    assert place.stub.revoked == []
    assert place.ask("SELECT count(*) FROM client_connections") == [(1,)]


def test_a_provider_that_does_not_answer_keeps_nothing_here(place):
    """The row goes although the grant could not be taken back; the audit says so. A key has nothing to revoke."""

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            place.ask("UPDATE oauth_applications SET encrypted_client_secret = encrypted_client_id")
            assert await disconnect(vault, connection, BY) == "not_revoked"
            key, _ = await save(vault, user, "openai", NewConnection(api_key="sk"), BY, replace=True)
            assert await disconnect(vault, key, BY) == "no_revocation"

    asyncio.run(run())
    assert place.ask("SELECT count(*) FROM client_connections") == [(0,)]
    assert outcomes(place) == ["not_revoked", "no_revocation"]


def test_a_refresh_on_its_way_does_not_bring_it_back(place):
    """It finds its lease gone and writes nothing."""
    place.stub.faults = [("after", "wait")]

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            task = vault.refresh.start(connection, REFRESH_AHEAD)
            await until(place.stub.entered.is_set)
            await disconnect(vault, connection, BY)
            place.stub.release.set()
            assert (await task).outcome is Outcome.LOST

    asyncio.run(run())
    assert place.ask("SELECT count(*) FROM client_connections") == [(0,)]


def test_what_is_connected_meanwhile_stays(place):
    """While the provider is asked, the user connects the account anew: that grant is another, and its row is kept."""

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            real = vault.outbound.send

            async def send(request, **limits):
                answer = await real(request, **limits)
                await save(vault, user, "stub", NewConnection(access_token="anew"), BY, replace=True)
                return answer

            vault.outbound.send = send
            assert await disconnect(vault, connection, BY) == "revoked"

    asyncio.run(run())
    assert place.ask("SELECT status FROM client_connections") == [("active",)]
    assert place.ask("SELECT details FROM credential_access_logs WHERE access_type = 'disconnect'") == [
        ({"row": "left"},)
    ]


def test_connections_that_died_are_replaced(place):
    """After a restart of PostgreSQL what must not be repeated (a lease, a state, an alert) is asked of a living one."""

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            _, expired = await place.connected(vault)

            async def restarted():
                await asyncio.gather(*(vault.database.run("SELECT pg_sleep(0.3)") for _ in range(4)))
                place.ask(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE usename = 'vault_runtime' AND datname = current_database()"
                )

            await restarted()
            assert await lease.claim(vault.database, expired, REFRESH_AHEAD, force=False) is not None
            await restarted()
            assert await states.use_state(vault, states.token()) is None
            await restarted()
            assert await vault.alerts.deliver() == 0
            await restarted()
            assert await disconnect(vault, connection, BY, user=user) == "revoked"

    asyncio.run(run())
