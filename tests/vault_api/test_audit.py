"""The audit's chain on a real PostgreSQL: whole after real work, and broken by every way of editing it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading

import pytest

from otobotctl.vault_api import contract
from tests.vault_api import conftest

TABLES = ("audit_streams", "credential_access_logs")


def verify(live, anchor=None):
    argv = [sys.executable, "-m", "otobotctl.vault_api", "audit", "verify", *(["--anchor"] if anchor else [])]
    done = subprocess.run(
        argv,
        env=live.environment,
        input=json.dumps(anchor or []),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout, done.stderr
    found = json.loads(done.stdout)
    assert done.returncode == (1 if found["broken"] else 0)
    return found


def read_some(vault, where):
    for _ in range(5):
        assert vault.ask(where).status == 200


@pytest.fixture(scope="module")
def used(postgres, tmp_path_factory):
    """A vault that many readers have used at once, and that was started twice: two chains."""
    made = conftest.Fresh(conftest.new_environment(postgres), postgres, tmp_path_factory.mktemp("used"))
    for number in range(2):
        with made.serving():
            made.ask(f"/api/internal/user/{conftest.USER}", "PUT", body={"email": "lea@acme.example", "name": "Léa"})
            where = contract.credentials_path(conftest.USER, "google")
            made.ask(where, "PUT", body={"accessToken": f"token-{number}"})
            readers = [threading.Thread(target=read_some, args=(made, where)) for _ in range(8)]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
    with made.database() as connection:
        for table in TABLES:
            connection.execute(f"CREATE TABLE public.kept_{table} AS TABLE {table}")
    return made


@pytest.fixture
def busy(used):
    """The same; what a test does to its audit is undone."""
    yield used
    with used.database() as connection, connection.transaction():
        for table in TABLES:
            connection.execute(f"DELETE FROM {table}")
            connection.execute(f"INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM public.kept_{table}")


def test_a_busy_vault_leaves_a_whole_audit(busy):
    """Two starts, eight readers at once: 84 rows in two chains, and the verdict of the first fits the second as an anchor."""
    found = verify(busy)
    assert (found["broken"], found["rows"], found["streams"]) == ([], 84, 2)
    assert verify(busy, found["heads"])["broken"] == []


@pytest.mark.parametrize(("edit", "told"), [
    ("UPDATE credential_access_logs SET outcome = 'missing' WHERE sequence = 7 AND stream = %s", "#7: was changed"),
    ("UPDATE credential_access_logs SET created_at = created_at + interval '1 us' WHERE sequence = 7 AND stream = %s", "#7: was changed"),
    ("UPDATE credential_access_logs SET details = '{\"a\": \"b\"}' WHERE sequence = 7 AND stream = %s", "#7: was changed"),
    ("DELETE FROM credential_access_logs WHERE sequence = 7 AND stream = %s", "#8: follows #6"),
    ("DELETE FROM credential_access_logs WHERE sequence >= 40 AND stream = %s", "#42: was there once, and is gone"),
    ("UPDATE audit_streams SET opened_at = opened_at - interval '1 day' WHERE id = %s", "#0: its opening was changed"),
    ("UPDATE audit_streams SET trimmed_to = 5, trimmed_mac = (SELECT mac FROM credential_access_logs WHERE sequence = 5 LIMIT 1) WHERE id = %s",
     "#5: what was forgotten does not fit"),
])  # fmt: skip
def test_every_edit_is_found(busy, edit, told):
    """A changed, removed or cut off row of the first chain, by somebody who may write to the table, is named."""
    with busy.database() as connection:
        (first,) = connection.execute("SELECT id FROM audit_streams WHERE number = 1").fetchone()
        connection.execute(edit, (first,))
    assert any(line.startswith(str(first)) and told in line for line in verify(busy)["broken"])


def test_a_chain_that_vanished_is_found(busy):
    """A whole chain removed leaves a gap, and the heads that the next one closed in."""
    with busy.database() as connection:
        (first,) = connection.execute("SELECT id FROM audit_streams WHERE number = 1").fetchone()
        connection.execute("DELETE FROM credential_access_logs WHERE stream = %s", (first,))
        connection.execute("DELETE FROM audit_streams WHERE id = %s", (first,))
    broken = verify(busy)["broken"]
    assert "chain 1: is missing" in broken
    assert f"{first} #42: was there once, and is gone" in broken


def test_an_anchor_shows_a_tail_that_was_cut(busy):
    """The newest rows can be cut unseen by the chain alone; the anchor that was kept elsewhere shows it."""
    anchor = verify(busy)["heads"]
    with busy.database() as connection:
        (second,) = connection.execute("SELECT id FROM audit_streams WHERE number = 2").fetchone()
        connection.execute("DELETE FROM credential_access_logs WHERE stream = %s AND sequence > 30", (second,))
    assert verify(busy)["broken"] == []
    assert verify(busy, anchor)["broken"] == [f"{second} #42: was there once, and is gone"]


def test_what_the_policy_forgets_leaves_a_proof(busy):
    """Rows beyond the days that the audit is kept are deleted by migrate; what is left is whole."""
    with busy.database() as connection:
        (first,) = connection.execute("SELECT id FROM audit_streams WHERE number = 1").fetchone()
    assert busy.run("migrate", VAULT_AUDIT_DAYS="1").returncode == 0
    assert verify(busy)["rows"] == 84
    with busy.database() as connection:
        # Older than it is, as far as the table says: the MAC of the rows that stay is not touched.
        connection.execute(
            "UPDATE credential_access_logs SET created_at = created_at - interval '2 days' WHERE stream = %s AND sequence <= 10",
            (first,),
        )
    assert busy.run("migrate", VAULT_AUDIT_DAYS="1").returncode == 0
    found = verify(busy)
    assert (found["broken"], found["rows"]) == ([], 74)


def test_what_is_noted_and_what_is_done_commit_together(fresh):
    """Where the audit cannot be written, the user is not created either."""
    with fresh.serving():
        with fresh.database() as connection:
            connection.execute("REVOKE INSERT ON credential_access_logs FROM vault_runtime")
        for _ in range(3):
            refused = fresh.ask(f"/api/internal/user/{conftest.USER}", "PUT", body={"email": "lea@acme.example"})
            assert refused.status == 500
            assert fresh.ask(contract.credentials_path(conftest.USER, "google")).status == 500
        with fresh.database() as connection:
            assert connection.execute("SELECT count(*) FROM users").fetchone() == (0,)
            connection.execute("GRANT INSERT ON credential_access_logs TO vault_runtime")
        assert fresh.ask(f"/api/internal/user/{conftest.USER}", "PUT", body={"email": "lea@acme.example"}).status == 201
        assert fresh.ask(contract.credentials_path(conftest.USER, "google")).status == 404
    # What the database refused for certain ended no chain.
    assert (verify(fresh)["broken"], verify(fresh)["streams"]) == ([], 1)
