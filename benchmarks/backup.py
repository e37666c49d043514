"""A whole archive of otobotctl beside raw `pg_dump | restic backup --stdin`, on one database, in one run.

    .venv/bin/python -m benchmarks.backup --mib 1000 --rounds 3

Both read one real PostgreSQL with real restic into repositories on the same disk, in turns: first into an empty
repository, then again after a hundredth of the rows has changed. The raw way saves one dump. otobotctl's is what a host
runs: the exact rows, roles, the configuration, archive.json and its state too. `docker exec` is a script that becomes
the program.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg

from scripts.story import embedded
from tests.agent.backup.hosts import BackupHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.story.embedded import Server

AIM = 1.10
_ROW = 2048
_NAME = "otobot_n8n"
_PROGRAMS = ("pg_dump", "pg_dumpall", "psql")
_SOURCE = {"kind": "postgres", "name": _NAME, "service": "postgres", "of": "n8n", "exclude": []}


def main() -> int:
    """Measure, and print a table; 1 where the aim is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mib", type=int, default=1000, help="how large the database is (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="how often (default: %(default)s)")
    asked = parser.parse_args()
    found: dict[tuple[str, str], list[tuple[float, int]]] = {}
    with embedded.running(durable=True) as server, tempfile.TemporaryDirectory(prefix="otobotctl-bench-") as name:
        fill(server, asked.mib)
        for number in range(asked.rounds):
            place = Path(name) / str(number)
            place.mkdir()
            ways = {"pg_dump | restic": raw(server, place / "raw"), "otobotctl": ours(server, place / "ours")}
            for when in ("first", "again"):
                order = list(ways) if number % 2 else list(reversed(ways))
                for way in order:
                    found.setdefault((when, way), []).append(ways[way]())
                    print(f"round {number + 1}, {when}, {way}: {found[when, way][-1][0]:.1f} s", file=sys.stderr)
                change(server)
            shutil.rmtree(place)
    return table(found, asked.mib)


def fill(server: Server, mib: int) -> None:
    """A table of text that compresses as text does: half of each row is random."""
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_NAME}")
    with psycopg.connect(server.address(_NAME), autocommit=True) as connection:
        connection.execute("CREATE TABLE execution_data (id int PRIMARY KEY, data text)")
        connection.execute("ALTER TABLE execution_data ALTER data SET STORAGE EXTERNAL")
        with connection.cursor().copy("COPY execution_data FROM STDIN") as copy:
            for number in range(mib * (1 << 20) // _ROW):
                noise = os.urandom(_ROW // 4).hex()
                copy.write_row((number, noise + "workflow " * ((_ROW - len(noise)) // 9)))
        connection.execute("CHECKPOINT")


def change(server: Server) -> None:
    """Every hundredth row becomes another."""
    with psycopg.connect(server.address(_NAME), autocommit=True) as connection:
        connection.execute(
            "UPDATE execution_data SET data = reverse(data) WHERE id < (SELECT max(id) / 100 FROM execution_data)"
        )
        connection.execute("CHECKPOINT")


def raw(server: Server, place: Path) -> Callable[[], tuple[float, int]]:
    """The two programs and a pipe."""
    place.mkdir()
    variables = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(place / "repository")}
    variables.update(PGHOST=str(server.socket), PGPORT=str(server.port), PGUSER=embedded.SUPERUSER)
    subprocess.run(["restic", "--quiet", "init"], env=variables, check=True)
    dump = f"{server.binaries}/pg_dump --format=custom --compress=0 --dbname={_NAME}"
    line = f"set -o pipefail; {dump} | restic --quiet --no-cache backup --stdin --stdin-filename=/dump"

    def run() -> tuple[float, int]:
        begun = time.perf_counter()
        subprocess.run(["bash", "-c", line], env=variables, check=True)
        return time.perf_counter() - begun, size(place / "repository")

    return run


def ours(server: Server, place: Path) -> Callable[[], tuple[float, int]]:
    """A run of the host's agent, Python's start included."""
    place.mkdir()
    host = BackupHost(place)
    host.make("disk")
    host.write_job(sources=[_SOURCE])
    for program in _PROGRAMS:
        host.inside(program, f'exec {server.binaries}/{program} --host={server.socket} --port={server.port} "$@"')
    host.restic("disk", "init")

    def run() -> tuple[float, int]:
        begun = time.perf_counter()
        result = host.run()["disk"]
        took_s = time.perf_counter() - begun
        if result["error"]:
            raise SystemExit(result["error"]["message"])
        return took_s, size(Path(host.targets["disk"]["repository"]))

    return run


def size(repository: Path) -> int:
    """The bytes of its files."""
    return sum(path.stat().st_size for path in repository.rglob("*") if path.is_file())


def table(found: dict[tuple[str, str], list[tuple[float, int]]], mib: int) -> int:
    """Medians and ratios, as Markdown."""
    print(f"\n{mib} MiB of rows, {len(next(iter(found.values())))} rounds, {os.cpu_count()} cores\n")
    print("| archive | way | s | MiB/s | repository MiB | time | size |")
    print("|---|---|---|---|---|---|---|")
    missed = False
    for when in ("first", "again"):
        base = [statistics.median(each) for each in zip(*found[when, "pg_dump | restic"], strict=True)]
        for way in ("pg_dump | restic", "otobotctl"):
            took_s, bytes_ = (statistics.median(each) for each in zip(*found[when, way], strict=True))
            ratio = took_s / base[0]
            missed |= ratio > AIM
            print(
                f"| {when} | {way} | {took_s:.1f} | {mib / took_s:.0f} | {bytes_ / (1 << 20):.0f} "
                f"| {ratio:.2f}x | {bytes_ / base[1]:.3f}x |"
            )
    print(f"\n{'MISSED' if missed else 'met'}: at most {AIM:.2f}x the time of the raw way")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
