"""A whole archive of otobotctl beside raw `pg_dump | restic backup --stdin`, on one database, in one run; and restores.

    .venv/bin/python -m benchmarks.backup --mib 1000 --rounds 3

Both read one real PostgreSQL with real restic into repositories on the same disk, in turns: first into an empty
repository, then again after a hundredth of the rows has changed. The raw way saves one dump. otobotctl's is what a host
runs: the exact rows, roles, the configuration, archive.json and its state too. `docker exec` is a script that becomes
the program. Last, that database is restored in place, beside raw `restic dump | pg_restore` into an empty one.

CPU is what the programs took, restic among them, without PostgreSQL's server: it says more than the time does where
other work is done meanwhile.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psycopg

from otobotctl.agent.backup.restic import flat
from scripts.story import embedded
from tests.agent.backup.hosts import BackupHost
from tests.agent.backup.restored_host import RestoreHost

if TYPE_CHECKING:
    from collections.abc import Callable

    from scripts.story.embedded import Server

AIM = 1.10
RESTORE_AIM_S = 300.0
RAW, OURS = "raw", "otobotctl"
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
    found: dict[tuple[str, str], list[Taken]] = {}
    with embedded.running(durable=True) as server, tempfile.TemporaryDirectory(prefix="otobotctl-bench-") as name:
        fill(server, asked.mib)
        for number in range(asked.rounds):
            place = Path(name) / str(number)
            place.mkdir()
            ways = {RAW: raw(server, place / "raw"), OURS: ours(server, place / "ours")}
            for when in ("first", "again"):
                order = list(ways) if number % 2 else list(reversed(ways))
                for way in order:
                    note(found, number, when, way, ways[way]())
                change(server)
            shutil.rmtree(place)
        restores(server, Path(name) / "restores", asked, found)
    return table(found, asked.mib)


class Taken(NamedTuple):
    """Seconds, seconds of CPU, and the bytes of the repository."""

    took_s: float
    cpu_s: float
    bytes: int


def note(found: dict[tuple[str, str], list[Taken]], number: int, when: str, way: str, taken: Taken) -> None:
    """Keep it, and say it at once."""
    found.setdefault((when, way), []).append(taken)
    print(f"round {number + 1}, {when}, {way}: {taken.took_s:.1f} s, CPU {taken.cpu_s:.1f} s", file=sys.stderr)


def timed(call: Callable[[], object], repository: Path) -> Taken:
    """Call it; what its programs took is in this process's account once they have ended."""
    before, begun = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    call()
    took_s, after = time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Taken(took_s, cpu_s, size(repository))


def fill(server: Server, mib: int) -> None:
    """A database of text that compresses as text does: half of each row is random."""
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {_NAME}")
    rows(server, mib)


def rows(server: Server, mib: int) -> None:
    """The table, in a database that is there."""
    with psycopg.connect(server.address(_NAME), autocommit=True) as connection:
        connection.execute("CREATE TABLE execution_data (id int PRIMARY KEY, data text)")
        connection.execute("ALTER TABLE execution_data ALTER data SET STORAGE EXTERNAL")
        with connection.cursor().copy("COPY execution_data FROM STDIN") as copy:
            for number in range(_count(mib)):
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


def raw(server: Server, place: Path) -> Callable[[], Taken]:
    """The two programs and a pipe."""
    place.mkdir()
    # A session of its own, as a run of the agent has: on a busy machine Linux shares the processors out by sessions.
    variables = {**os.environ, "RESTIC_PASSWORD": "x", "RESTIC_REPOSITORY": str(place / "repository")}
    variables.update(PGHOST=str(server.socket), PGPORT=str(server.port), PGUSER=embedded.SUPERUSER)
    subprocess.run(["restic", "--quiet", "init"], env=variables, check=True)
    dump = f"{server.binaries}/pg_dump --format=custom --compress=0 --dbname={_NAME}"
    line = f"set -o pipefail; {dump} | restic --quiet --no-cache backup --stdin --stdin-filename=/dump"

    return lambda: timed(
        lambda: subprocess.run(["bash", "-c", line], env=variables, check=True, start_new_session=True),
        place / "repository",
    )


def ours(server: Server, place: Path) -> Callable[[], Taken]:
    """A run of the host's agent, Python's start included."""
    place.mkdir()
    host = BackupHost(place)
    host.make("disk")
    host.write_job(sources=[_SOURCE])
    for program in _PROGRAMS:
        host.inside(program, f'exec {server.binaries}/{program} --host={server.socket} --port={server.port} "$@"')
    host.restic("disk", "init")  # the real one: a test's own opens at once
    return lambda: timed(lambda: archived(host), Path(host.targets["disk"]["repository"]))


def archived(host: BackupHost) -> str:
    """Make an archive; return its id."""
    result = host.run()["disk"]
    if result["error"]:
        raise SystemExit(result["error"]["message"])
    return str(result["archive"]["id"])


def restores(server: Server, place: Path, asked: argparse.Namespace, found: dict[tuple[str, str], list[Taken]]) -> None:
    """Restore one archive in place, again and again, and by hand into an empty database."""
    place.mkdir()
    host = RestoreHost(place, server)
    host.make("disk")
    rows(server, asked.mib)
    host.restic("disk", "init")
    ident = archived(host)
    repository = Path(host.targets["disk"]["repository"])
    part = next(part for part in host.archive("disk", ident)["parts"] if part["name"].endswith(f"/{_NAME}.dump"))
    restic = f"restic --no-cache --quiet --repo {repository} --password-file {place}/etc/acme/key"
    tool = f"{server.binaries}/pg_restore --host={server.socket} --port={server.port} --username={embedded.SUPERUSER}"
    line = f"set -o pipefail; {restic} dump {part['snapshot']} {flat(part['name'])} | {tool} --dbname=by_hand"
    for number in range(asked.rounds):
        host.sql("DROP DATABASE IF EXISTS by_hand WITH (FORCE)")
        host.sql("CREATE DATABASE by_hand")
        note(found, number, "restore", RAW, timed(lambda: subprocess.run(["bash", "-c", line], check=True), repository))
        host.sql("DROP DATABASE by_hand")
        host.sql("TRUNCATE execution_data; CHECKPOINT", _NAME)
        note(found, number, "restore", OURS, timed(lambda: restored(host, asked.mib), repository))


def restored(host: RestoreHost, mib: int) -> None:
    """Restore everything, and see that every row is back."""
    status = host.restore()
    count = int(host.sql("SELECT count(*) FROM execution_data", _NAME))
    if status or count != _count(mib):
        raise SystemExit("\n".join([*host.said, f"{count} rows of {_count(mib)}"]))


def _count(mib: int) -> int:
    return mib * (1 << 20) // _ROW


def size(repository: Path) -> int:
    """The bytes of its files."""
    return sum(path.stat().st_size for path in repository.rglob("*") if path.is_file())


def table(found: dict[tuple[str, str], list[Taken]], mib: int) -> int:
    """Medians and ratios, as Markdown."""
    print(f"\n{mib} MiB of rows, {len(next(iter(found.values())))} rounds, {os.cpu_count()} cores\n")
    print("| what | way | s | CPU s | MiB/s | repository MiB | time | CPU | size |")
    print("|---|---|---|---|---|---|---|---|---|")
    missed = False
    for when in ("first", "again", "restore"):
        base = [statistics.median(each) for each in zip(*found[when, RAW], strict=True)]
        for way in (RAW, OURS):
            took_s, cpu_s, bytes_ = (statistics.median(each) for each in zip(*found[when, way], strict=True))
            ratio = took_s / base[0]
            missed |= ratio > AIM if when != "restore" else took_s > RESTORE_AIM_S * mib / 1000
            print(
                f"| {when} | {way} | {took_s:.1f} | {cpu_s:.1f} | {mib / took_s:.0f} | {bytes_ / (1 << 20):.0f} "
                f"| {ratio:.2f}x | {cpu_s / base[1]:.2f}x | {bytes_ / base[2]:.3f}x |"
            )
    aims = f"an archive at most {AIM:.2f}x the time of the raw way, a restore {RESTORE_AIM_S:.0f} s a GB"
    print(f"\n{'MISSED' if missed else 'met'}: {aims}")
    return int(missed)


if __name__ == "__main__":
    sys.exit(main())
