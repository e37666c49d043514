"""The lease that a refresh takes, and what readers get meanwhile, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import collections
from datetime import timedelta
from uuid import uuid4

import pytest

from otobotctl.vault_api.crypto import Place as Sealing
from otobotctl.vault_api.errors import Problem
from otobotctl.vault_api.oauth import lease, renewal
from otobotctl.vault_api.oauth.refresh import Refresh
from otobotctl.vault_api.oauth.renewal import Outcome

from .readers import AHEAD, read, refreshed, until


def test_one_lease_at_a_time_and_its_number_fences(place):
    """A second claim gets nothing; after the lease has lapsed it gets a higher number, and the first can write no more."""

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            first = await lease.claim(vault.database, connection, AHEAD, force=False)
            assert await lease.claim(vault.database, connection, AHEAD, force=False) is None
            assert await lease.claim(vault.database, connection, AHEAD, force=True) is None
            place.ask("UPDATE client_connections SET lease_until = now() - interval '1 second'")
            second = await lease.claim(vault.database, connection, AHEAD, force=False)
            assert second.lease > first.lease
            async with vault.database.connection() as wire:
                assert not await lease.finish(wire, first, ("x", "y"), None, ())
                assert await lease.fail(wire, first, timedelta(), counts=True) is None
                assert not await lease.end(wire, first, await lease.look(vault.database, connection), "x")
            assert not await lease.keep(vault.database, first, "x")
            assert lease.LEASE.total_seconds() > 3 * renewal.HTTP_S

    asyncio.run(run())


def test_no_database_connection_is_held_while_the_provider_thinks(place):
    """Every connection of the pool is free during the call."""
    place.stub.faults = [("before", "wait")]

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            task = vault.refresh.start(connection, AHEAD)
            await until(place.stub.entered.is_set)
            counts = vault.database.counts()
            place.stub.release.set()
            assert (await task).outcome is Outcome.REFRESHED
            return counts

    counts = asyncio.run(run())
    assert counts["pool_available"] == counts["pool_size"]


def test_a_database_that_is_away_when_the_answer_comes_costs_no_token(place):
    """The new token is carried until it can be saved."""
    place.stub.faults = [("after", "wait")]
    name = place.environment["VAULT_DATABASE_NAME"]

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            task = vault.refresh.start(connection, AHEAD)
            await until(place.stub.entered.is_set)
            with place.admin() as admin:
                admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
                admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
                place.stub.release.set()
                await asyncio.sleep(1.0)
                assert not task.done()
                admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
            assert (await task).outcome is Outcome.REFRESHED
            assert (await refreshed(vault, connection, force=True)).outcome is Outcome.REFRESHED
            return connection

    connection = asyncio.run(run())
    assert place.row(connection)["fresh"]
    assert [outcome for _, outcome in place.stub.refreshes] == ["granted", "granted"]


def test_a_key_rotation_under_way_does_not_disturb(place):
    """A row sealed anew while its refresh is on the way (as a rewrap does) takes the new tokens all the same."""
    place.stub.faults = [("after", "wait")]

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            task = vault.refresh.start(connection, AHEAD)
            await until(place.stub.entered.is_set)
            where = Sealing("acme", str(user), "stub", str(connection), "encrypted_refresh_token")
            again = vault.keyring.seal("refresh-SECRET-lea-1", where)
            place.ask("UPDATE client_connections SET encrypted_refresh_token = %s", (again,))
            place.stub.release.set()
            assert (await task).outcome is Outcome.REFRESHED
            return connection

    assert place.row(asyncio.run(run()))["fresh"]


def test_many_readers_in_a_process_share_one_refresh(place):
    """Fifty at once: the provider is asked once, and each is told to read again."""
    place.stub.faults = [("before", 0.5)]

    async def run():
        async with place.opened() as vault:
            user, _ = await place.connected(vault)
            found = await read(vault, user)
            assert vault.refresh.due(found)
            assert await asyncio.gather(*(vault.refresh.ensure(found) for _ in range(50))) == [True] * 50

    asyncio.run(run())
    assert len(place.stub.refreshes) == 1


def test_a_reader_who_goes_away_does_not_stop_the_refresh(place):
    """A cancelled request leaves the refresh running to its end."""
    place.stub.faults = [("after", "wait")]

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            found = await read(vault, user)
            waiting = asyncio.create_task(vault.refresh.ensure(found))
            await until(place.stub.entered.is_set)
            waiting.cancel()
            place.stub.release.set()
        return connection  # closing the vault waits for what runs

    assert place.row(asyncio.run(run()))["fresh"]


def test_what_a_reader_gets_when_there_is_no_new_token(place):
    """While the old one is valid: that. When it has run out: 503 with Retry-After. When refreshing has stopped: what is
    stored, which says that it has expired.
    """

    async def run():
        async with place.opened() as vault:
            place.stub.faults = [("before", 500)] * 9
            user, _ = await place.connected(vault, expires_in_s=30)
            assert not await vault.refresh.ensure(await read(vault, user))
            user, connection = await place.connected(vault)
            found = await read(vault, user)
            for _ in range(2):  # a fresh failure, and the wait after it
                with pytest.raises(Problem) as caught:
                    await vault.refresh.ensure(found)
                assert caught.value.status == 503
                assert 1 <= int(caught.value.headers["retry-after"]) <= 3600
            place.ask("UPDATE client_connections SET refresh_failures = 5 WHERE id = %s", (connection,))
            assert not await vault.refresh.ensure(found)

    asyncio.run(run())


def test_a_provider_that_hangs_does_not_hold_up_the_others(place, monkeypatch):
    """Of forty connections to it only a few are tried at once, and another service's are done meanwhile."""
    running, most = collections.Counter(), collections.Counter()
    services = {uuid4(): "hangs" for _ in range(40)} | {uuid4(): "answers" for _ in range(10)}

    async def run():
        release = asyncio.Event()

        async def one(_self, connection, _ahead, *, force):
            service = services[connection]
            running[service] += 1
            most[service] = max(most[service], running[service])
            if service == "hangs":
                await release.wait()
            running[service] -= 1
            return renewal.Result(connection, Outcome.REFRESHED)

        monkeypatch.setattr(Refresh, "_renew", one)
        async with place.opened() as vault:
            whole = asyncio.create_task(vault.refresh.several(services.items(), AHEAD))
            answered = [item for item in services.items() if item[1] == "answers"]
            assert len(await vault.refresh.several(answered, AHEAD)) == 10
            assert not whole.done()
            release.set()
            assert len(await whole) == 50

    asyncio.run(run())
    assert most["hangs"] == 4


def test_a_lease_that_another_process_holds(place, monkeypatch):
    """While the token is valid it is handed out at once; when it has run out the reader waits, then is told to come again."""
    monkeypatch.setattr("otobotctl.vault_api.oauth.refresh.PATIENCE_S", 0.5)

    async def run():
        async with place.opened() as vault:
            for expires_in_s in (30, -10):
                user, connection = await place.connected(vault, expires_in_s=expires_in_s)
                found = await read(vault, user)
                assert await lease.claim(vault.database, connection, AHEAD, force=False)
                if expires_in_s > 0:
                    assert not await vault.refresh.ensure(found)
                else:
                    with pytest.raises(Problem) as caught:
                        await vault.refresh.ensure(found)
                    assert caught.value.status == 503
        assert place.stub.refreshes == []

    asyncio.run(run())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("UPDATE client_connections SET encrypted_refresh_token = '1:00:00:00'", "unreadable"),
        ("UPDATE client_connections SET service_code = 'openai'", "unknown_service"),
        ("UPDATE client_connections SET oauth_app_id = NULL; DELETE FROM oauth_applications", "no_application"),
        ("UPDATE oauth_applications SET encrypted_client_secret = encrypted_client_id", "unreadable"),
    ],
)
def test_what_is_missing_on_our_side_is_a_failure_with_its_name(place, change, reason):
    """Nothing is sent, and the connection is not broken."""

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            with place.database() as wire:
                for each in change.split(";"):
                    wire.execute(each)
            result = await refreshed(vault, connection)
            assert (result.outcome, result.reason) == (Outcome.FAILED, reason)
            assert place.row(connection)["status"] == "active"

    asyncio.run(run())
    assert place.stub.refreshes == []
