"""kill -9 during `migrate`: nothing is half done, and the next run goes on."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

import psycopg

from otobotctl.vault_api import contract
from otobotctl.vault_api.configuration import Settings
from otobotctl.vault_api.database import conninfo
from otobotctl.vault_api.schema import migrations
from tests.vault_api.conftest import USER

ROOT = Path(__file__).resolve().parents[2]
# Runs `migrate`, and dies right before the statement that begins so, with this as its first parameter ("": any).
_DYING = """
import os, psycopg, signal, sys
from otobotctl.vault_api.__main__ import main
begins, first = sys.argv[1:]
execute = psycopg.Connection.execute
def dying(self, query, params=None, **named):
    text = query if isinstance(query, str) else str(query)
    if text.startswith(begins) and (not first or str(params[0]) == first):
        os.kill(os.getpid(), signal.SIGKILL)
    return execute(self, query, params, **named)
psycopg.Connection.execute = dying
sys.exit(main(["migrate"]))
"""


def killed(environment, begins, first=""):
    """Run `migrate` and have it killed there."""
    argv = [sys.executable, "-c", _DYING, begins, first]
    ran = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert ran.returncode == -signal.SIGKILL, (begins, ran.stdout, ran.stderr)


def test_killed_between_each_file_and_its_ledger_entry(fresh):
    """Of the file that was being applied nothing is there, those before it are whole, and the last run completes."""
    settings = Settings.from_environment(fresh.environment, owner=True)
    for migration in migrations():
        killed(fresh.environment, "INSERT INTO schema_migrations", str(migration.version))
        with psycopg.connect(conninfo(settings, settings.owner), autocommit=True) as connection:
            rows = connection.execute("SELECT version, checksum FROM schema_migrations ORDER BY 1").fetchall()
            assert rows == [(one.version, one.checksum) for one in migrations() if one.version < migration.version]
            for one in migrations():
                for table in re.findall(r"^CREATE TABLE (\w+)", one.text, re.MULTILINE):
                    (there,) = connection.execute("SELECT to_regclass(%s)", (table,)).fetchone()
                    assert (there is not None) == (one.version < migration.version), (migration.name, table)
    _killed_behind_the_files(fresh)
    done = fresh.run("migrate")
    assert done.returncode == 0, done.stderr
    with fresh.serving():
        assert fresh.ask(contract.READY_PATH).body["checks"] == {"database": "ok", "migrations": "ok", "key": "ok"}
        assert fresh.ask(f"/api/internal/user/{USER}", "PUT", body={"email": "a@acme.example"}).status == 201


def _killed_behind_the_files(fresh):
    """The key's proof, the list of services and the grants come together or not at all."""
    for begins in ("INSERT INTO encryption_keys", "INSERT INTO services"):
        killed(fresh.environment, begins)
        with fresh.database() as connection:
            counts = connection.execute(
                "SELECT (SELECT count(*) FROM encryption_keys), (SELECT count(*) FROM services WHERE code = 'airtable'),"
                " has_table_privilege('vault_runtime', 'users', 'SELECT')"
            ).fetchone()
        assert counts == (0, 0, False), begins


def test_killed_while_a_new_key_is_registered(fresh):
    """A rotation's second version is there with its proof or not at all; the first serves on either way."""
    assert fresh.run("migrate").returncode == 0
    old = fresh.environment["ENCRYPTION_MASTER_KEY"]
    both = {**fresh.environment, "ENCRYPTION_MASTER_KEY": "ab" * 32, "ENCRYPTION_MASTER_KEY_PREVIOUS": old}
    for begins in ("INSERT INTO encryption_keys", "INSERT INTO services"):
        killed(both, begins)
        with fresh.database() as connection:
            assert connection.execute("SELECT version FROM encryption_keys").fetchall() == [(1,)]
    assert fresh.run("migrate").returncode == 0
    assert fresh.run("migrate", replace=both).returncode == 0
    with fresh.database() as connection:
        assert connection.execute("SELECT version FROM encryption_keys ORDER BY 1").fetchall() == [(1,), (2,)]
