"""Refreshing in several processes, and a refresher that is killed in the middle."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from otobotctl.vault_api import contract
from scripts.story import vault as program
from tests.waiting import until

PROCESSES = 3
READERS = 50


def connected(place, *, expires_in_s=-10):
    """A user and a connection, made by a vault that is closed again before the test goes on."""

    async def run():
        async with place.opened() as vault:
            return await place.connected(vault, expires_in_s=expires_in_s)

    return asyncio.run(run())


# What the refresher's container is given: it serves nobody, so it knows no caller's token and no owner.
GIVEN = [
    "VAULT_CLIENT",
    "VAULT_DATABASE_HOST",
    "VAULT_DATABASE_PORT",
    "VAULT_DATABASE_NAME",
    "VAULT_RUNTIME_USER",
    "VAULT_RUNTIME_PASSWORD",
    "ENCRYPTION_MASTER_KEY",
    "AUDIT_HMAC_KEY",
    "VAULT_ALERT_WEBHOOK",
    "VAULT_PROVIDERS_FILE",
    "VAULT_OUTBOUND_ALLOW",
]


@contextlib.contextmanager
def refresher(place, log):
    """The refresher's program."""
    process = program.start({name: place.environment[name] for name in GIVEN}, log, "refresher")
    try:
        yield process
    finally:
        program.stop(process)


def kill(process):
    """As the kernel does when memory runs out: no handler, no farewell."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait(60)


def patient(vault, path, token):
    """What a reader gets who comes again when he is told to: on a loaded machine a refresh may outlast his patience."""
    deadline = time.monotonic() + 120
    while (answer := vault.ask(path, token=token)).status == 503 and time.monotonic() < deadline:
        time.sleep(float(answer.headers["retry-after"]))
    return answer


def test_fifty_requests_in_three_processes_cause_one_refresh(place, tmp_path):
    """An expired token, a provider that takes a second: one refresh, and everybody gets the new token."""
    user, connection = connected(place)
    place.stub.faults = [("before", 1.0)]
    path = contract.credentials_path(str(user), "stub")
    token = place.environment["N8N_INTERNAL_TOKEN"]
    with contextlib.ExitStack() as stack:
        vaults = [
            stack.enter_context(program.serving(place.environment, tmp_path / f"log{number}"))
            for number in range(PROCESSES)
        ]
        with ThreadPoolExecutor(READERS) as pool:
            asked = [pool.submit(patient, vaults[number % PROCESSES], path, token) for number in range(READERS)]
            answers = [future.result() for future in asked]
    assert [outcome for _, outcome in place.stub.refreshes] == ["granted"]
    assert {answer.status for answer in answers} == {200}
    assert {answer.body["credentials"]["accessToken"] for answer in answers} == {"access-SECRET-lea-2"}
    assert not any(answer.body["metadata"]["tokenExpired"] for answer in answers)
    assert place.row(connection)["fresh"]
    assert place.audit(connection) == ["refreshed"]


def test_a_refresher_killed_before_the_provider_acts_loses_nothing(place, tmp_path):
    """Kill -9 while the provider has not looked yet: when the lease has lapsed, the next refresh uses the old token."""
    _, connection = connected(place)
    place.stub.faults = [("before", "hang")]
    with refresher(place, tmp_path / "first") as process:
        assert place.stub.entered.wait(120)
        kill(process)
    assert place.row(connection) == {
        "status": "active", "reason": "", "failures": 0, "leased": True, "fresh": False,
    }  # fmt: skip
    place.ask("UPDATE client_connections SET lease_until = now()")  # two minutes later
    with refresher(place, tmp_path / "second"):
        until(lambda: place.row(connection)["fresh"])
    assert [outcome for _, outcome in place.stub.refreshes] == ["granted"]


def test_a_refresher_killed_after_the_rotation_is_saved_by_the_providers_grace(place, tmp_path):
    """The answer died with the process: the old token is shown again, and gets the pair that was made for it."""
    _, connection = connected(place)
    place.stub.grace = True
    place.stub.faults = [("after", "hang")]
    with refresher(place, tmp_path / "first") as process:
        assert place.stub.entered.wait(120)
        kill(process)
    place.ask("UPDATE client_connections SET lease_until = now()")
    with refresher(place, tmp_path / "second"):
        until(lambda: place.row(connection)["fresh"])
    assert [outcome for _, outcome in place.stub.refreshes] == ["granted", "again"]
    assert place.row(connection)["status"] == "active"


def test_a_token_that_was_written_down_before_the_kill_is_used(place, tmp_path):
    """Killed between writing the rotated token down and putting the pair in place: the next refresh shows the new one,
    to a provider that forgives nothing.
    """
    _, connection = connected(place)
    with place.database() as lock:
        # The pair cannot be put in place while the audit's table is locked; writing the token down can.
        with lock.transaction():
            lock.execute("LOCK TABLE credential_access_logs IN ACCESS EXCLUSIVE MODE")
            with refresher(place, tmp_path / "first") as process:
                until(
                    lambda: place.ask("SELECT 1 FROM client_connections WHERE encrypted_next_refresh_token IS NOT NULL")
                )
                kill(process)
        place.ask("UPDATE client_connections SET lease_until = now()")
        with refresher(place, tmp_path / "second"):
            until(lambda: place.row(connection)["fresh"])
    shown = place.stub.refreshes
    assert shown == [("refresh-SECRET-lea-1", "granted"), ("refresh-SECRET-lea-2", "granted")]
    assert place.ask("SELECT encrypted_next_refresh_token FROM client_connections") == [(None,)]


def test_what_dies_with_the_process_at_a_strict_provider_is_told_as_such(place, tmp_path):
    """The one loss that nobody can prevent: rotated, the answer not received, no grace. It is broken with an alert, not
    tried for ever.
    """
    _, connection = connected(place)
    place.stub.faults = [("after", "hang")]
    with refresher(place, tmp_path / "first") as process:
        assert place.stub.entered.wait(120)
        kill(process)
    place.ask("UPDATE client_connections SET lease_until = now()")
    with refresher(place, tmp_path / "second"):
        until(lambda: place.row(connection)["status"] == "broken")
        until(lambda: place.stub.alerts)
    assert place.stub.alerts[0][1]["kind"] == "broken"


def test_a_refresher_that_is_told_to_stop_finishes_what_it_began(place, tmp_path):
    """SIGTERM while a provider has rotated and not answered yet: the answer is waited for and saved; exit 0."""
    _, connection = connected(place)
    place.stub.faults = [("after", 2.0)]
    with refresher(place, tmp_path / "log") as process:
        assert place.stub.entered.wait(120)
        assert program.stop(process) == 0
    assert place.row(connection)["fresh"]


def test_a_refresher_that_is_told_to_stop_leaves_what_has_not_begun(place, tmp_path):
    """A provider that hangs on every one of many connections does not keep the program: it ends within its grace."""

    async def run():
        async with place.opened() as vault:
            for _ in range(12):
                await place.connected(vault)

    asyncio.run(run())
    place.stub.faults = [("before", "wait")] * 12
    with refresher(place, tmp_path / "log") as process:
        until(lambda: len(place.stub.faults) == 8)  # four are at the provider
        process.terminate()
        time.sleep(1.0)
        place.stub.release.set()
        assert process.wait(60) == 0
    assert len(place.stub.refreshes) == 4  # as many as are tried at once


def test_no_log_line_holds_a_secret(place, tmp_path):
    """Of a vault and a refresher that go through good and bad: no token, code, secret or provider's text in any line."""
    user, connection = connected(place)
    place.stub.faults = [("before", 500), ("before", "garbage")]
    _, ended = connected(place)
    place.stub.valid.pop("refresh-SECRET-lea-2")
    token = place.environment["N8N_INTERNAL_TOKEN"]
    environment = {**place.environment, "VAULT_LOG_LEVEL": "debug"}
    with program.serving(environment, tmp_path / "vault") as running:
        first = running.ask(contract.credentials_path(str(user), "stub"), token=token)
        assert (first.status, int(first.headers["retry-after"]) > 0) == (503, True)
        for _ in range(4):
            running.ask(contract.credentials_path(str(user), "stub"), token=token)
            running.ask("/api/internal/refresh-tokens", "POST", token=token)
            place.at_once(connection)
        running.ask("/api/oauth/callback/stub?code=code-SECRET-9&state=state-SECRET-9")
        running.ask("/api/oauth/connect/stub/start?ticket=ticket-SECRET-9")
    place.at_once(ended)
    with refresher(place, tmp_path / "refresher"):
        until(lambda: place.row(ended)["status"] == "broken")
        until(lambda: any(kind == "sweep" for kind in events(tmp_path / "refresher")))
    text = (tmp_path / "vault").read_text() + (tmp_path / "refresher").read_text()
    assert "refresh" in events(tmp_path / "vault")
    assert "SECRET" not in text
    assert "is unknown" not in text
    for name, value in place.environment.items():
        if any(word in name for word in ("KEY", "TOKEN", "SECRET", "PASSWORD")):
            assert value not in text, name


def events(path):
    """The names of what was logged."""
    return [json.loads(line)["event"] for line in path.read_text().splitlines()]
