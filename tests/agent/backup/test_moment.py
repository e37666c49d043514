"""A moment of a real PostgreSQL: what pg_dump reads and what is counted are the same rows, whoever writes meanwhile."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agent.backup import quick_restic
from tests.agent.backup.hosts import SOURCES, BackupHost
from tests.render.test_postgres import Server, _programs

_MANY = 3000


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server with one database of an application, in which a superuser of ours may do everything."""
    programs = _programs()
    if programs is None or shutil.which("restic") is None or (os.geteuid() == 0 and not shutil.which("runuser")):
        if os.environ.get("CI"):
            pytest.fail("no PostgreSQL or restic: scripts/test-packages installs them", pytrace=False)
        pytest.skip("no PostgreSQL or restic: scripts/test-packages installs them")
    with tempfile.TemporaryDirectory(prefix="otobot-") as path:
        folder = Path(path)
        folder.chmod(0o755)
        if os.geteuid() == 0:
            shutil.chown(folder, "postgres")
        made = Server(programs, folder)
        made.start()
        try:
            tell(made, "CREATE DATABASE otobot_n8n", "postgres")
            tell(made, "CREATE DATABASE back", "postgres")
            tell(made, 'CREATE SCHEMA "Odd; name"')
            tell(made, 'CREATE TABLE "Odd; name"."it\'s" (id int)')
            tell(made, "CREATE TABLE users (id int PRIMARY KEY)")
            tell(made, "CREATE TABLE logs (id int, at int) PARTITION BY LIST (at)")
            tell(made, "CREATE TABLE logs_1 PARTITION OF logs FOR VALUES IN (1)")
            tell(made, "CREATE UNLOGGED TABLE light (id int)")
            tell(made, f"INSERT INTO users SELECT generate_series(1, {_MANY})")
            tell(made, "INSERT INTO logs VALUES (1, 1), (2, 1)")
            tell(made, 'INSERT INTO "Odd; name"."it\'s" VALUES (7)')
            yield made
        finally:
            made.stop()


def tell(server: Server, statement: str, database: str = "otobot_n8n") -> str:
    """Run a statement as the superuser; return what it answers."""
    status, said = server.ask("otobot_admin", "", statement, database)
    assert status == 0, said
    return said


def test_rows_are_those_of_the_dump_while_somebody_writes(server: Server, tmp_path: Path) -> None:
    """Rows are added before, during and after pg_dump: the count is exactly what the dump gives back."""
    host = BackupHost(tmp_path)
    host.make("disk")
    host.write_job(sources=[SOURCES[1]])
    # A repository that is not there is made once a run has begun, which then begins again: here pg_dump runs once.
    quick_restic.init(tmp_path / "repositories/disk", (tmp_path / "etc/acme/key").read_text())
    real = " ".join([*server.user, "env", f"PGHOST={server.folder}"])
    host.inside("psql", f'exec {real} {server.programs}/psql "$@"')
    host.inside("pg_dumpall", f'exec {real} {server.programs}/pg_dumpall "$@"')
    # By the time that pg_dump begins, the moment has passed; and more is written while it reads.
    write = (
        f"{real} {server.programs}/psql -Xqc 'INSERT INTO users SELECT max(id) + 1 FROM users' otobot_n8n otobot_admin"
    )
    host.inside("pg_dump", f'{write}; {write} & {real} {server.programs}/pg_dump "$@"; status=$?; wait; exit $status')
    result = host.run()["disk"]
    assert result["error"] is None, result
    assert result["archive"]["consistent"] is True  # one database is of one moment by itself
    parts = {part["name"]: part for part in host.archive("disk", result["archive"]["id"])["parts"]}
    rows = parts["/databases/otobot_n8n.dump"]["rows"]
    assert rows == {"Odd; name.it's": 1, "public.users": _MANY, "public.logs_1": 2, "public.light": 0}
    assert tell(server, "SELECT count(*) FROM users") == str(_MANY + 2)
    dump = server.folder / "n8n.dump"
    name = "/databases-otobot_n8n.dump"
    dump.write_bytes(
        host.restic("disk", "dump", parts["/databases/otobot_n8n.dump"]["snapshot"], name).encode("latin-1")
    )
    dump.chmod(0o644)
    env = [f"PGHOST={server.folder}", "PGUSER=otobot_admin"]
    server.call("pg_restore", "--dbname=back", "--exit-on-error", str(dump), env=env)
    assert tell(server, "SELECT count(*) FROM users", "back") == str(_MANY)


def test_a_database_that_is_not_there_is_told(server: Server, tmp_path: Path) -> None:
    """In PostgreSQL's own words."""
    host = BackupHost(tmp_path)
    host.make("disk")
    host.write_job(sources=[{**SOURCES[1], "name": "absent"}])
    real = " ".join([*server.user, "env", f"PGHOST={server.folder}"])
    host.inside("psql", f'exec {real} {server.programs}/psql "$@"')
    error = host.run()["disk"]["error"]
    assert 'database "absent" does not exist' in error["message"]
    assert subprocess.run(["pgrep", "-f", "dbname=absent"], check=False, capture_output=True).returncode == 1
