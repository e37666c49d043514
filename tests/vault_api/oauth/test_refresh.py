"""Refreshing, against a provider that rotates and fails, on a real PostgreSQL."""

from __future__ import annotations

import asyncio
import random

import msgspec
import pytest

from otobotctl.vault_api import connections
from otobotctl.vault_api.connections import NewConnection
from otobotctl.vault_api.oauth import lease, renewal
from otobotctl.vault_api.oauth.refresh import Refresh
from otobotctl.vault_api.oauth.renewal import Outcome

from .conftest import BY
from .readers import AHEAD, read, refreshed, until


def test_a_rotated_token_takes_the_place_of_the_old(place):
    """The new pair is stored, the next refresh shows the new refresh token, and both are in the audit."""

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            assert (await refreshed(vault, connection)).outcome is Outcome.REFRESHED
            first = (await read(vault, user)).access_token
            await vault.refresh.start(connection, AHEAD, force=True)
            assert first != (await read(vault, user)).access_token
            return connection

    connection = asyncio.run(run())
    assert [token for token, _ in place.stub.refreshes] == ["refresh-SECRET-lea-1", "refresh-SECRET-lea-2"]
    assert place.row(connection) == {"status": "active", "reason": "", "failures": 0, "leased": False, "fresh": True}
    assert place.audit(connection) == ["refreshed", "refreshed"]


def test_an_omitted_refresh_token_means_the_old_one_stays(place):
    """A provider that does not rotate is asked with the same token again and again."""
    place.stub.rotates = False

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            for _ in range(3):
                assert (await refreshed(vault, connection, force=True)).outcome is Outcome.REFRESHED

    asyncio.run(run())
    assert place.stub.refreshes == [("refresh-SECRET-lea-1", "granted")] * 3


def test_what_is_fresh_is_left_alone(place):
    """A token that runs out later than the look-ahead is not refreshed, unless asked for."""

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault, expires_in_s=3600)
            assert (await refreshed(vault, connection)).outcome is Outcome.CURRENT

    asyncio.run(run())
    assert place.stub.refreshes == []


@pytest.mark.parametrize("fault", [500, 503, 429, "garbage", "html", "drop", "hang", 0.3])
def test_a_fault_of_the_provider_costs_no_connection(place, fault):
    """Twice the same fault, then a good answer: the connection is active all the while and ends up fresh."""
    place.stub.faults = [("before", fault), ("before", fault)]

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            vault.refresh = Refresh(vault, http_s=2.0)
            for number in range(2):
                result = await refreshed(vault, connection)
                if fault == 0.3:  # slow is no fault
                    assert result.outcome is Outcome.REFRESHED
                    return connection
                assert result.outcome is Outcome.FAILED
                assert place.row(connection) == {
                    "status": "active", "reason": "", "failures": number + 1, "leased": False, "fresh": False,
                }  # fmt: skip
                assert (await refreshed(vault, connection)).outcome is Outcome.WAITING
                place.at_once(connection)
            assert (await refreshed(vault, connection)).outcome is Outcome.REFRESHED
            return connection

    connection = asyncio.run(run())
    assert place.row(connection)["status"] == "active"
    assert place.row(connection)["fresh"]


@pytest.mark.parametrize("fault", [500, "garbage", "drop", "hang"])
def test_an_answer_that_is_lost_after_a_rotation_is_asked_for_again(place, fault):
    """A provider that lets the old token be shown again for a while (most that rotate) loses no connection either."""
    place.stub.grace = True
    place.stub.faults = [("after", fault), ("after", fault)]

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            vault.refresh = Refresh(vault, http_s=1.0)
            for _ in range(2):
                result = await refreshed(vault, connection)
                assert result.outcome is Outcome.FAILED
                assert result.reason.endswith("_may_have_rotated") == (fault in {"drop", "hang"})
                place.at_once(connection)
            assert (await refreshed(vault, connection)).outcome is Outcome.REFRESHED
            assert (await refreshed(vault, connection, force=True)).outcome is Outcome.REFRESHED
            return connection

    connection = asyncio.run(run())
    assert [outcome for _, outcome in place.stub.refreshes] == ["granted", "again", "again", "granted"]
    assert place.row(connection)["status"] == "active"


def test_an_ended_grant_breaks_at_once_and_raises_one_alert(place):
    """invalid_grant: broken, not tried again, one alert delivered, nothing secret in it; connecting again mends it."""

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            place.stub.valid.clear()
            assert (await refreshed(vault, connection)).outcome is Outcome.BROKEN
            assert (await refreshed(vault, connection)).outcome is Outcome.BROKEN
            await until(lambda: place.ask("SELECT delivered_at FROM alerts WHERE delivered_at IS NOT NULL"))
            await vault.alerts.sweep()
            assert len(place.stub.refreshes) == 1
            assert (await read(vault, user)).status == "broken"
            new = NewConnection(access_token="a", refresh_token="r")
            await connections.save(vault, user, "stub", new, BY, replace=True)
            await vault.alerts.sweep()
            return connection

    connection = asyncio.run(run())
    ((status, alert, key),) = place.stub.alerts
    assert (status, alert["kind"], alert["connectionId"], alert["client"]) == (204, "broken", str(connection), "acme")
    assert alert["details"]["reason"] == "invalid_grant"
    assert key == alert["id"]
    assert "SECRET" not in str(alert)
    assert place.audit(connection) == ["broken"]
    assert place.ask("SELECT resolved_at IS NOT NULL FROM alerts") == [(True,)]


def test_five_failures_stop_it_until_somebody_asks(place):
    """After the fifth the sweep leaves it alone and an alert says so; a refresh by hand that works mends both."""
    place.stub.faults = [("before", 500)] * 5

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            outcomes = []
            for _ in range(6):
                outcomes.append((await refreshed(vault, connection)).outcome)
                place.at_once(connection)
            assert outcomes == [Outcome.FAILED] * 4 + [Outcome.STOPPED] * 2
            assert await lease.due(vault.database, AHEAD, 10) == []
            assert len(place.stub.refreshes) == 0
            await vault.alerts.sweep()
            assert (await refreshed(vault, connection, force=True)).outcome is Outcome.REFRESHED
            await vault.alerts.sweep()
            return connection

    connection = asyncio.run(run())
    assert place.row(connection)["failures"] == 0
    assert [alert["kind"] for _, alert, _ in place.stub.alerts] == ["refresh_stopped"]
    assert place.ask("SELECT kind, resolved_at IS NOT NULL FROM alerts") == [("refresh_stopped", True)]
    assert place.audit(connection) == ["failed"] * 4 + ["stopped", "refreshed"]


def test_waits_grow_and_differ(place):
    """Each failure waits longer than the one before, by no fixed number of seconds, and Retry-After is honoured."""
    assert all(one <= following for one, following in zip(renewal.DELAYS_S, renewal.DELAYS_S[1:], strict=False))
    place.stub.faults = [("before", 500)] * 40

    async def run():
        async with place.opened() as vault:
            waits = []
            for _ in range(8):
                _, connection = await place.connected(vault)
                waits.append((await refreshed(vault, connection)).after_s)
            return waits

    waits = asyncio.run(run())
    assert len(set(waits)) > 1
    assert all(0.8 * renewal.DELAYS_S[0] - 1 <= wait <= 1.2 * renewal.DELAYS_S[0] for wait in waits)


def test_a_network_that_is_down_is_not_the_providers_failure(place):
    """A provider that cannot be reached is tried again without being counted, so an outage of ours stops nothing."""

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            shut = dict(vault.providers)
            shut["stub"] = msgspec.structs.replace(shut["stub"], token_url="https://no-such-host.invalid/")
            vault.providers = shut
            for _ in range(7):
                assert (await refreshed(vault, connection)).outcome is Outcome.FAILED
                place.at_once(connection)
            return connection

    connection = asyncio.run(run())
    assert place.row(connection)["failures"] == 0
    assert place.row(connection)["status"] == "active"


def test_a_lost_race_is_no_broken_grant(place):
    """invalid_grant for a token that the row no longer has: the user has connected again meanwhile."""

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            held = await lease.claim(vault.database, connection, AHEAD, force=False)
            place.stub.valid.clear()
            new = NewConnection(access_token="new", refresh_token="new-refresh")
            await connections.save(vault, user, "stub", new, BY, replace=True)
            assert (await renewal.renew(vault, held)).outcome is Outcome.LOST
            assert (await read(vault, user)).access_token == "new"
            return connection

    connection = asyncio.run(run())
    assert place.row(connection)["status"] == "active"
    assert place.ask("SELECT count(*) FROM alerts") == [(0,)]


def test_a_new_connection_is_not_overwritten_by_a_late_refresh(place):
    """A refresh that was on its way while the user connected again writes nothing."""
    place.stub.faults = [("after", "wait")]

    async def run():
        async with place.opened() as vault:
            user, connection = await place.connected(vault)
            task = vault.refresh.start(connection, AHEAD)
            await until(place.stub.entered.is_set)
            new = NewConnection(access_token="new", refresh_token="new-refresh")
            await connections.save(vault, user, "stub", new, BY, replace=True)
            place.stub.release.set()
            assert (await task).outcome is Outcome.LOST
            assert (await read(vault, user)).access_token == "new"

    asyncio.run(run())


def test_a_rotated_token_is_kept_even_when_the_lease_has_lapsed(place):
    """Another process has taken the lease of a refresh that took too long: what was rotated to is kept beside the old
    one, the other's invalid_grant breaks nothing, and the next refresh shows the new one.
    """
    place.stub.faults = [("after", "wait")]

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            task = vault.refresh.start(connection, AHEAD)
            await until(place.stub.entered.is_set)
            place.ask("UPDATE client_connections SET lease_until = now() - interval '1 second'")
            other = await lease.claim(vault.database, connection, AHEAD, force=False)
            place.stub.release.set()
            assert (await task).reason == "kept"
            assert (await renewal.renew(vault, other)).outcome is Outcome.LOST
            place.at_once(connection)
            assert (await refreshed(vault, connection)).outcome is Outcome.REFRESHED
            return connection

    connection = asyncio.run(run())
    assert [outcome for _, outcome in place.stub.refreshes] == ["granted", "refused", "granted"]
    assert place.row(connection)["status"] == "active"
    assert place.audit(connection) == ["kept", "refreshed"]


def test_a_connection_that_was_broken_by_the_used_up_token_is_mended_by_the_new_one(place):
    """The lease has lapsed, another process has shown the old token and marked the connection broken; then the answer
    comes that has the new one: the connection is active again, and the next refresh works.
    """
    place.stub.faults = [("after", "wait")]

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            task = vault.refresh.start(connection, AHEAD)
            await until(place.stub.entered.is_set)
            place.ask("UPDATE client_connections SET lease_until = now() - interval '1 second'")
            other = await lease.claim(vault.database, connection, AHEAD, force=False)
            assert (await renewal.renew(vault, other)).outcome is Outcome.BROKEN
            place.stub.release.set()
            assert (await task).reason == "kept"
            assert place.row(connection)["status"] == "active"
            assert (await refreshed(vault, connection)).outcome is Outcome.REFRESHED
            await vault.alerts.sweep()

    asyncio.run(run())
    assert place.ask("SELECT kind, resolved_at IS NOT NULL FROM alerts") == [("broken", True)]


@pytest.mark.parametrize("seed", range(4))
def test_whoever_comes_first_the_token_that_counts_is_kept(place, seed):
    """A provider that forgives nothing, workers that overlap because leases lapse under them, in any order: when all have
    ended, the connection is active and has the one refresh token that is valid.
    """
    dice = random.Random(seed)

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            for _ in range(10):
                place.stub.faults = [("after", dice.choice([0.0, 0.01, 0.03, 0.08])) for _ in range(4)]
                tasks = []
                for _ in range(4):
                    await asyncio.sleep(dice.uniform(0, 0.03))
                    # Not by the test's own connection: it would stop the loop that has the row locked.
                    await vault.database.run("UPDATE client_connections SET lease_until = NULL")
                    claim = await lease.claim(vault.database, connection, AHEAD, force=True)
                    assert claim is not None
                    tasks.append(asyncio.create_task(renewal.renew(vault, claim)))
                await asyncio.gather(*tasks)
                seen = await lease.look(vault.database, connection)
                assert seen.status == "active"
                assert renewal._current(vault, seen, connection) in place.stub.valid

    asyncio.run(run())
    assert {"granted", "refused"} <= {outcome for _, outcome in place.stub.refreshes}


def test_a_key_without_uses_left_ends_one_refresh_and_no_sweep(place, monkeypatch):
    """What the provider gave cannot be sealed: it is carried for a while, then told; the others are refreshed."""
    monkeypatch.setattr(renewal, "SAVE_S", 0.0)

    async def run():
        async with place.opened() as vault:
            several = [(await place.connected(vault))[1] for _ in range(2)]
            vault.keyring.allowance = 3  # of the three that each needs
            found = await vault.refresh.several([(one, "stub") for one in several], AHEAD)
            assert sorted(one.outcome.value for one in found) == ["failed", "refreshed"]

    asyncio.run(run())
