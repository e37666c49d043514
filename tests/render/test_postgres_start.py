"""The start script of PostgreSQL on what a first start leaves that a power cut or a kill has ended; initdb is the real one."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import pytest

from tests.lab.fixtures import unavailable
from tests.render.sample import rendered, resolved, text
from tests.render.test_postgres import _programs

LINE = "host all all all scram-sha-256"
# What the image's own does at its first start, and never again once there is a PG_VERSION.
ENTRY_POINT = f"""#!/bin/sh
set -e
[ -s "$PGDATA/PG_VERSION" ] || {{
  initdb --username=otobot_admin --auth-local=trust --encoding=UTF8 --no-sync > "$PGDATA.said"
  touch "$PGDATA.whole"
  printf '\\n{LINE}\\n' >> "$PGDATA/pg_hba.conf"
}}
exec postgres --single -D "$PGDATA" postgres < /dev/null
"""


class Container:
    """The rendered script with the container's places below a folder."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self.programs = programs
        self.folder, self.data, self.sockets = folder, folder / "data", folder / "run"
        environment = {"PATH": f"{folder}:{programs}:/usr/bin:/bin", "PGDATA": str(self.data), "LC_ALL": "C.UTF-8"}
        user = ("runuser", "-u", "postgres", "--") if os.geteuid() == 0 else ()
        self.run = (*user, "env", "-i", *(f"{name}={value}" for name, value in environment.items()), "sh")
        script = text(rendered(resolved()), "postgres/start.sh").replace("/var/run/postgresql", str(self.sockets))
        (folder / "start.sh").write_text(script)
        (folder / "docker-entrypoint.sh").write_text(ENTRY_POINT)
        (folder / "docker-entrypoint.sh").chmod(0o755)
        for each in (self.data, self.sockets):
            each.mkdir()
        self.own()

    def own(self) -> None:
        """Everything is the user's that PostgreSQL runs as."""
        if os.geteuid() == 0:
            subprocess.run(["chown", "-R", "postgres", self.folder], check=True)

    def call(self, script: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run one of its scripts to its end."""
        self.own()
        argv = [*self.run, self.folder / script, *words]
        return subprocess.run(argv, cwd=self.folder, capture_output=True, text=True, timeout=300, check=False)

    def start(self) -> str:
        """Start until PostgreSQL has opened its cluster and ended; return what was said."""
        done = self.call("start.sh", "postgres")
        assert done.returncode == 0, done.stdout + done.stderr
        assert LINE in (self.data / "pg_hba.conf").read_text().splitlines()
        assert not {"PANIC", "FATAL"} & set(done.stderr.replace(":", " ").split())
        return done.stderr

    def begin(self, until: str) -> None:
        """Kill the first start as soon as `until` is there; again where initdb was faster than this process."""
        whole = self.folder / "data.whole"
        for _ in range(20):
            argv = [*self.run, self.folder / "docker-entrypoint.sh"]
            with subprocess.Popen(
                argv, cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
            ) as process:
                while process.poll() is None and not (self.data / until).exists():
                    time.sleep(0.0005)
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, 9)
            if not whole.exists():
                assert (self.data / until).exists()
                return
            whole.unlink()
            subprocess.run(["find", self.data, "-mindepth", "1", "-delete"], check=True)
        pytest.fail("initdb was faster each time")


@pytest.fixture(scope="module")
def made():
    """One that has started before, for copies of its volume."""
    programs = _programs()
    if programs is None or (os.geteuid() == 0 and not shutil.which("runuser")):
        unavailable("no PostgreSQL: scripts/test-packages installs it")
    with tempfile.TemporaryDirectory(prefix="otobot-") as path:
        container = Container(Path(path), programs)
        assert "otobot:" not in container.start()
        yield container


@pytest.fixture
def empty(made):
    """One whose volume is empty."""
    with tempfile.TemporaryDirectory(prefix="otobot-") as path:
        yield Container(Path(path), made.programs)


@pytest.fixture
def container(empty, made):
    """One that has started before."""
    subprocess.run(["cp", "-a", f"{made.data}/.", empty.data], check=True)
    return empty


def test_the_next_starts_are_the_images_own(container):
    """Nothing is said and nothing is made anew."""
    before = (container.data / "global/pg_control").stat().st_ino
    assert "otobot:" not in container.start()
    assert (container.data / "global/pg_control").stat().st_ino == before


@pytest.mark.parametrize("moment", ["PG_VERSION", "global/pg_control", "base/1/PG_VERSION"])
def test_a_first_start_that_was_killed_is_made_again(empty, moment):
    """Wherever initdb was; the image alone does not start from there."""
    empty.begin(until=moment)
    assert empty.call("docker-entrypoint.sh").returncode != 0
    assert "it is made again" in empty.start()


def test_a_cluster_without_its_last_line_and_without_databases_is_made_again(container):
    """As a kill right after initdb leaves it; of roles and their passwords nothing was there yet."""
    _forget_line(container)
    assert "it is made again" in container.start()


def test_a_cluster_with_somebodys_database_only_gets_its_line(container):
    """Whatever is missing: where there may be data, nothing is deleted."""
    before = (container.data / "global/pg_control").stat().st_ino
    (container.data / "base/16384").mkdir()
    _forget_line(container)
    assert "its last line is added" in container.start()
    assert (container.data / "global/pg_control").stat().st_ino == before
    assert (container.data / "base/16384").is_dir()


def test_somebodys_cluster_without_pg_version_stays_as_it_is(container):
    """PostgreSQL does not start with it, and a person has to look; this script deletes nothing."""
    (container.data / "base/16385").mkdir()
    for gone in ("PG_VERSION", "pg_hba.conf"):
        (container.data / gone).unlink()
    before = sorted(path.name for path in container.data.iterdir())
    assert container.call("start.sh", "postgres").returncode != 0
    assert sorted(path.name for path in container.data.iterdir()) == before


def test_an_empty_lock_is_nobodys_and_a_full_one_is_postgresqls_to_judge(container):
    """A power cut between a lock's name and its content would keep PostgreSQL from starting for ever."""
    (container.data / "postmaster.pid").touch()
    (container.sockets / ".s.PGSQL.5432.lock").touch()
    (container.sockets / ".s.PGSQL.5433.lock").write_text("1\n")
    container.start()
    assert [path.name for path in container.sockets.iterdir()] == [".s.PGSQL.5433.lock"]


def _forget_line(container):
    hba = container.data / "pg_hba.conf"
    hba.write_text(hba.read_text().replace(LINE, ""))
