"""A new master key on a real PostgreSQL: everything is sealed anew, online, and a kill costs nothing."""

from __future__ import annotations

import json
import secrets
import signal
import threading
import time

from otobotctl.vault_api import contract
from scripts.story import vault
from tests.vault_api import conftest

ROWS = 1500


def fill(fresh):
    """One user a connection, each with three values sealed under the first key."""
    with fresh.serving():
        assert fresh.ask(f"/api/internal/user/{conftest.USER}", "PUT", body={"email": "a@acme.example"}).status == 201
        for service in ("google", "notion", "slack"):
            body = {"accessToken": f"a-{service}", "refreshToken": f"r-{service}", "apiKey": f"k-{service}"}
            assert fresh.ask(contract.credentials_path(conftest.USER, service), "PUT", body=body).status == 201


def many(fresh):
    """Rows enough that a rewrap takes a while: sealed here, in the database's own words."""
    from otobotctl.vault_api.crypto import Keyring, Place

    ring = Keyring({1: bytes.fromhex(fresh.environment["ENCRYPTION_MASTER_KEY"])}, 1)
    with fresh.database() as connection:
        (client,) = connection.execute("SELECT id FROM clients").fetchone()
        for number in range(ROWS):
            user = f"00000000-0000-4000-9000-{number:012d}"
            row = f"00000000-0000-4000-a000-{number:012d}"
            connection.execute(
                "INSERT INTO users (client_id, id, email) VALUES (%s, %s, %s)", (client, user, f"{number}@acme.example")
            )
            sealed = ring.seal(f"token-{number}", Place("acme", user, "google", row, "encrypted_access_token"))
            connection.execute(
                "INSERT INTO client_connections (client_id, id, user_id, service_code, encrypted_access_token)"
                " VALUES (%s, %s, %s, 'google', %s)",
                (client, row, user, sealed),
            )


def rotated(fresh):
    """The environment with a new key, the old one as its previous."""
    old = fresh.environment["ENCRYPTION_MASTER_KEY"]
    fresh.environment |= {"ENCRYPTION_MASTER_KEY": secrets.token_hex(32), "ENCRYPTION_MASTER_KEY_PREVIOUS": old}
    assert fresh.run("migrate").returncode == 0


def versions(fresh):
    with fresh.database() as connection:
        rows = connection.execute(
            "SELECT split_part(encrypted_access_token, ':', 1), count(*) FROM client_connections GROUP BY 1"
        ).fetchall()
    return dict(rows)


def test_everything_is_sealed_anew_and_the_old_key_may_go(fresh):
    """After a rewrap nothing is left on version 1, reads go on, and the vault starts without the old key."""
    fill(fresh)
    rotated(fresh)
    with fresh.serving():
        assert (
            fresh.ask(contract.credentials_path(conftest.USER, "google")).body["credentials"]["accessToken"]
            == "a-google"
        )
        ran = fresh.run("rewrap")
        assert ran.stdout, ran.stderr
        done = json.loads(ran.stdout)
        assert done == {"version": 2, "sealed": 9, "left": {}, "retired": [1]}
    del fresh.environment["ENCRYPTION_MASTER_KEY_PREVIOUS"]
    with fresh.serving():
        for service in ("google", "notion", "slack"):
            answer = fresh.ask(contract.credentials_path(conftest.USER, service))
            assert answer.body["credentials"] == {"accessToken": f"a-{service}", "apiKey": f"k-{service}"}
    assert versions(fresh) == {"2": 3}
    assert json.loads(fresh.run("rewrap").stdout)["sealed"] == 0


def test_a_key_that_is_still_needed_may_not_go(fresh):
    """Before the rewrap, the vault does not start without the old key, and says which version lacks one."""
    fill(fresh)
    rotated(fresh)
    without = {name: value for name, value in fresh.environment.items() if name != "ENCRYPTION_MASTER_KEY_PREVIOUS"}
    refused = fresh.run("migrate", replace=without)
    assert refused.returncode == 1
    assert "no key is configured for version 1" in refused.stderr


def test_a_deploy_that_went_back_leaves_a_vault_that_starts(fresh):
    """The new key is registered and sealed nothing: the release before starts without it, and the rotation goes on later."""
    fill(fresh)
    before = dict(fresh.environment)
    rotated(fresh)
    both = dict(fresh.environment)
    with fresh.serving():  # the deploy: registered, healthy, and another service of the client is not
        assert fresh.ask(contract.credentials_path(conftest.USER, "google")).status == 200
    fresh.environment = before
    assert fresh.run("migrate").returncode == 0
    with fresh.serving():
        for service in ("google", "notion", "slack"):
            answer = fresh.ask(contract.credentials_path(conftest.USER, service))
            assert answer.body["credentials"]["accessToken"] == f"a-{service}"
        assert (
            fresh.ask(contract.credentials_path(conftest.USER, "google"), "PUT", body={"accessToken": "b"}).status
            == 200
        )
    fresh.environment = both
    with fresh.serving():
        done = json.loads(fresh.run("rewrap").stdout)
    assert (done["version"], done["left"], done["retired"]) == (2, {}, [1])


def test_a_deploy_that_went_back_after_it_had_sealed_something_does_not_start(fresh):
    """A value under the new key cannot be opened by the release before, which says so instead of failing at that value."""
    fill(fresh)
    before = dict(fresh.environment)
    rotated(fresh)
    with fresh.serving():
        assert (
            fresh.ask(contract.credentials_path(conftest.USER, "slack"), "PUT", body={"accessToken": "b"}).status == 200
        )
    for command in ("migrate", "rewrap"):
        refused = fresh.run(command, replace=before)
        assert refused.returncode == 1
        if command == "migrate":
            assert "no key is configured for version 2" in refused.stderr


def test_a_retired_key_that_seals_again_is_needed_again(fresh):
    """As after a store that was put back to its old state: what it seals then is not given up with the next start."""
    fill(fresh)
    rotated(fresh)
    assert json.loads(fresh.run("rewrap").stdout)["retired"] == [1]
    new = fresh.environment["ENCRYPTION_MASTER_KEY"]
    back = {
        **fresh.environment,
        "ENCRYPTION_MASTER_KEY": fresh.environment["ENCRYPTION_MASTER_KEY_PREVIOUS"],
        "ENCRYPTION_MASTER_KEY_PREVIOUS": new,
    }
    assert fresh.run("migrate", replace=back).returncode == 0
    assert json.loads(fresh.run("rewrap", replace=back).stdout)["version"] == 1
    alone = {name: value for name, value in fresh.environment.items() if name != "ENCRYPTION_MASTER_KEY_PREVIOUS"}
    refused = fresh.run("migrate", replace=alone)
    assert refused.returncode == 1
    assert "no key is configured for version 1" in refused.stderr


def test_a_new_key_alone_is_not_taken_for_a_rotation(fresh):
    """A wrong key, given alone, is refused instead of becoming a new version."""
    fill(fresh)
    wrong = {**fresh.environment, "ENCRYPTION_MASTER_KEY": secrets.token_hex(32)}
    assert "is not the key" in fresh.run("migrate", replace=wrong).stderr
    with fresh.database() as connection:
        assert connection.execute("SELECT count(*) FROM encryption_keys").fetchone() == (1,)


def test_killed_at_any_time_a_rewrap_ends_when_it_is_run_again(fresh, tmp_path):
    """Kill -9 again and again while readers read: no read fails, every value stays readable, the last run completes."""
    with fresh.serving():
        many(fresh)
    rotated(fresh)
    failures = []
    stop = threading.Event()
    with fresh.serving():

        def read():
            number = 0
            while not stop.is_set():
                user = f"00000000-0000-4000-9000-{number % ROWS:012d}"
                answer = fresh.ask(contract.credentials_path(user, "google"))
                if answer.status != 200 or answer.body["credentials"]["accessToken"] != f"token-{number % ROWS}":
                    failures.append((number, answer.status))
                number += 37

        reader = threading.Thread(target=read)
        reader.start()
        try:
            kills = _kill_until_done(fresh, tmp_path)
        finally:
            stop.set()
            reader.join()
    assert kills
    assert failures == []
    assert versions(fresh) == {"2": ROWS}


def _kill_until_done(fresh, tmp_path):
    """Start it and kill it once it has begun to write, until it ends by itself; how often it was killed."""
    kills, before = 0, versions(fresh).get("2", 0)
    while True:
        process = vault.start(fresh.environment, tmp_path / "rewrap.log", "rewrap")
        deadline = time.monotonic() + 300
        while process.poll() is None:
            assert time.monotonic() < deadline
            if kills < 3 and versions(fresh).get("2", 0) > before:
                process.send_signal(signal.SIGKILL)
                process.wait()
                kills, before = kills + 1, versions(fresh).get("2", 0)
                break
        else:
            assert process.returncode == 0
            return kills
