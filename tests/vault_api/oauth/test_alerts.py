"""What is told to an operator, once, until it is mended."""

from __future__ import annotations

import asyncio
import dataclasses

from otobotctl.vault_api.actor import INTERNAL
from otobotctl.vault_api.reads import Asked


def raised(place):
    return sorted(kind for (kind,) in place.ask("SELECT kind FROM alerts WHERE resolved_at IS NULL"))


def test_what_is_alerted(place):
    """Run out for over seven days, refreshing stopped, not used for thirty days, broken; nothing of what is well."""

    async def run():
        async with place.opened() as vault:
            _, expired = await place.connected(vault)
            _, stopped = await place.connected(vault)
            _, unused = await place.connected(vault)
            _, broken = await place.connected(vault)
            user, used = await place.connected(vault)
            await place.connected(vault, expires_in_s=60)
            place.ask(
                "UPDATE client_connections SET token_expires_at = now() - interval '8 days' WHERE id = %s", (expired,)
            )
            place.ask("UPDATE client_connections SET refresh_failures = 5 WHERE id = %s", (stopped,))
            place.ask("UPDATE client_connections SET status = 'broken' WHERE id = %s", (broken,))
            old = "UPDATE client_connections SET created_at = now() - interval '31 days' WHERE id = ANY (%s)"
            place.ask(old, ([unused, used],))
            await vault.reads.read(Asked(str(user), "stub", str(user), INTERNAL))
            assert await vault.alerts.sweep() == (4, 0)
            assert await vault.alerts.sweep() == (0, 0)
            return {"expired": expired, "refresh_stopped": stopped, "unused": unused, "broken": broken}

    wanted = asyncio.run(run())
    assert {alert["kind"]: alert["connectionId"] for _, alert, _ in place.stub.alerts} == {
        kind: str(connection) for kind, connection in wanted.items()
    }
    assert len(place.stub.alerts) == 4


def test_an_alert_is_resolved_when_mended_and_raised_again_when_it_comes_back(place):
    """Each time it is a new alert."""

    async def run():
        async with place.opened() as vault:
            _, connection = await place.connected(vault)
            for _ in range(2):
                place.ask("UPDATE client_connections SET status = 'broken'")
                assert (await vault.alerts.sweep())[0] == 1
                place.ask("UPDATE client_connections SET status = 'active'")
                assert (await vault.alerts.sweep())[1] == 1
            place.ask("UPDATE client_connections SET status = 'broken'")
            await vault.alerts.sweep()
            place.ask("DELETE FROM client_connections WHERE id = %s", (connection,))
            assert (await vault.alerts.sweep())[1] == 1

    asyncio.run(run())
    assert raised(place) == []
    assert len({key for _, _, key in place.stub.alerts}) == 3


def test_a_webhook_that_fails_is_tried_again_later(place):
    """A refusal puts the next try off; a try that is taken is the last."""
    place.stub.alert_statuses = [500, 302]

    async def run():
        async with place.opened() as vault:
            await place.connected(vault)
            place.ask("UPDATE client_connections SET status = 'broken'")
            await vault.alerts.sweep()
            assert await vault.alerts.deliver() == 0  # not yet
            for taken in (0, 1, 0):
                place.ask("UPDATE alerts SET details = details - 'retryAt'")
                assert await vault.alerts.deliver() == taken

    asyncio.run(run())
    assert [status for status, _, _ in place.stub.alerts] == [500, 302, 204]
    assert len({key for _, _, key in place.stub.alerts}) == 1
    assert place.ask("SELECT attempts, delivered_at IS NOT NULL FROM alerts") == [(3, True)]


def test_two_processes_deliver_an_alert_once(place):
    """Whoever takes it puts its next try off, in one statement."""

    async def run():
        async with place.opened() as one, place.opened() as other:
            for _ in range(12):
                await place.connected(one)
            place.ask("UPDATE client_connections SET status = 'broken'")
            await asyncio.gather(*(vault.alerts.sweep() for vault in (one, other) for _ in range(4)))

    asyncio.run(run())
    assert len(place.stub.alerts) == 12
    assert len({key for _, _, key in place.stub.alerts}) == 12


def test_an_alert_that_another_process_is_taking_is_passed_over(place):
    """It waits for nobody: the others are delivered meanwhile."""

    async def run():
        async with place.opened() as vault:
            for _ in range(3):
                await place.connected(vault)
            place.ask("UPDATE client_connections SET status = 'broken'")
            with place.database() as wire, wire.transaction():
                place.stub.alert_statuses = [500] * 3
                await vault.alerts.sweep()
                place.ask("UPDATE alerts SET details = details - 'retryAt'")
                wire.execute("SELECT FROM alerts ORDER BY raised_at LIMIT 1 FOR UPDATE")
                assert await vault.alerts.deliver() == 2

    asyncio.run(run())


def test_without_a_webhook_alerts_are_kept(place):
    """Nothing is sent and nothing fails; the table has them."""

    async def run():
        async with place.opened() as vault:
            vault.settings = dataclasses.replace(vault.settings, alert_webhook=None)
            await place.connected(vault)
            place.ask("UPDATE client_connections SET status = 'broken'")
            assert await vault.alerts.sweep() == (1, 0)

    asyncio.run(run())
    assert raised(place) == ["broken"]
    assert place.stub.alerts == []
