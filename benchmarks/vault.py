"""Credential reads a second beside the bare limit of the same PostgreSQL: `python -m benchmarks.vault`.

Server, PostgreSQL (durable: fsync on) and the load generator (`wrk`, from the distribution) share this machine. A read
is authenticated, limited, decrypted and audited; its audit row is durable before the answer leaves. The bare limit is a
loop of one data-modifying statement (select and audit insert) through the same driver, with no server around it.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import calm, reads
from benchmarks.reads import Measured
from otobotctl.vault_api import contract
from scripts.story import embedded, vault

USERS = 200
TICK = os.sysconf("SC_CLK_TCK")
BARE = """
WITH found AS (
    SELECT c.id, c.encrypted_access_token FROM client_connections c
    WHERE c.client_id = %(client)s AND c.user_id = %(user)s AND c.service_code = 'google' AND c.is_active
), audited AS (
    INSERT INTO credential_access_logs
        (client_id, client_connection_id, user_id, service_code, access_type, outcome, accessed_by)
    SELECT %(client)s, found.id, %(user)s, 'google', 'read', 'found', 'bare' FROM found
)
SELECT * FROM found"""

_WRK = """
local n = {connections}
local users = {users}
function request()
  local user = string.format("00000000-0000-4000-8000-%012d", math.random(users) - 1)
  local path = "/api/internal/user/" .. user .. "/credentials/google"
  return wrk.format("GET", path, {{["{header}"] = os.getenv("BENCH_TOKEN")}})
end
function done(summary, latency, requests)
  local failed = summary.errors.status + summary.errors.read + summary.errors.timeout
  io.write(string.format("RESULT %d %d %d %d %d\\n", summary.requests, summary.duration, failed,
    latency:percentile(50), latency:percentile(99)))
end
"""


@contextmanager
def ground(work: Path) -> Iterator[tuple[dict[str, str], embedded.Server]]:
    """A migrated vault's database with USERS users, each with one connection."""
    import psycopg

    with embedded.running(durable=True) as server:
        passwords = {role: secrets.token_hex(16) for role in ("vault_owner", "vault_runtime")}
        with psycopg.connect(server.address(), autocommit=True) as connection:
            for role, password in passwords.items():
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'".encode())
            connection.execute("CREATE DATABASE bench OWNER vault_owner")
            assert connection.execute("SHOW fsync").fetchone() == ("on",)
            assert connection.execute("SHOW synchronous_commit").fetchone() == ("on",)
        environment = {
            "VAULT_CLIENT": "acme",
            "VAULT_DATABASE_HOST": server.host,
            "VAULT_DATABASE_PORT": str(server.port),
            "VAULT_DATABASE_NAME": "bench",
            "VAULT_OWNER_USER": "vault_owner",
            "VAULT_OWNER_PASSWORD": passwords["vault_owner"],
            "VAULT_RUNTIME_USER": "vault_runtime",
            "VAULT_RUNTIME_PASSWORD": passwords["vault_runtime"],
            "ENCRYPTION_MASTER_KEY": secrets.token_hex(32),
            "AUDIT_HMAC_KEY": secrets.token_hex(32),
            "N8N_INTERNAL_TOKEN": secrets.token_urlsafe(48),
            "API_JWT_SECRET": secrets.token_urlsafe(48),
            "VAULT_EXPOSE_CREDENTIALS": "true",
            "VAULT_INTERNAL_RATE": "100000000/minute",
        }
        with vault.serving(environment, work / "log") as running:
            for number in range(USERS):
                user = f"00000000-0000-4000-8000-{number:012d}"
                token = environment["N8N_INTERNAL_TOKEN"]
                running.ask(contract.user_path(user), "PUT", token=token, body={"email": f"u{number}@acme.example"})
                body = {"accessToken": secrets.token_urlsafe(1500), "expiresAt": "2199-01-01T00:00:00Z"}
                assert (
                    running.ask(contract.credentials_path(user, "google"), "PUT", token=token, body=body).status == 201
                )
        yield environment, server


def through_the_vault(
    environment: dict[str, str], server: embedded.Server, connections: int, seconds: int, work: Path
) -> Measured:
    """Reads over HTTP."""
    script = work / "read.lua"
    script.write_text(_WRK.format(connections=connections, users=USERS, header=contract.TOKEN_HEADER))
    busy = not calm.wait(20)
    with vault.serving(environment, work / "log") as running:
        argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--latency", "-s", str(script), running.url]
        load = {**os.environ, "BENCH_TOKEN": environment["N8N_INTERNAL_TOKEN"]}
        subprocess.run([*argv[:3], "-d2s", *argv[4:]], env=load, capture_output=True, check=True)  # warm
        before = _cpu(running.process.pid), _cpu_of(server)
        done = subprocess.run(argv, env=load, capture_output=True, text=True, check=True)
        after = _cpu(running.process.pid), _cpu_of(server)
        resident = _resident(running.process.pid)
    found = re.search(r"RESULT (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    assert found, done.stdout
    count, took_us, errors, p50, p99 = map(int, found.groups())
    server_us, database_us = ((b - a) / TICK * 1e6 / max(1, count) for a, b in zip(before, after, strict=True))
    rate = count / took_us * 1e6
    return Measured("vault", connections, rate, p50 / 1000, p99 / 1000, server_us, database_us, resident, errors, busy)


def bare(environment: dict[str, str], server: embedded.Server, connections: int, seconds: int) -> Measured:
    """The statement alone, in a loop, a thread a connection."""
    import psycopg

    secret = environment["VAULT_OWNER_PASSWORD"]
    login = f"host={server.host} port={server.port} dbname=bench user=vault_owner password={secret}"
    times: list[float] = []
    busy = not calm.wait(20)
    end = time.monotonic() + seconds

    def loop() -> None:
        with psycopg.connect(login, autocommit=True, options="-c search_path=vault", prepare_threshold=0) as connection:
            client = connection.execute("SELECT id FROM clients").fetchone()
            mine, number = [], 0
            while time.monotonic() < end:
                number = (number + 7) % USERS
                begun = time.perf_counter()
                user = f"00000000-0000-4000-8000-{number:012d}"
                assert connection.execute(BARE, {"client": client and client[0], "user": user}).fetchone()
                mine.append(time.perf_counter() - begun)
            times.extend(mine)

    before = _cpu(os.getpid()), _cpu_of(server)
    threads = [threading.Thread(target=loop) for _ in range(connections)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = _cpu(os.getpid()), _cpu_of(server)
    server_us, database_us = ((b - a) / TICK * 1e6 / len(times) for a, b in zip(before, after, strict=True))
    times.sort()
    p50, p99 = times[len(times) // 2] * 1000, times[int(len(times) * 0.99)] * 1000
    return Measured("bare", connections, len(times) / seconds, p50, p99, server_us, database_us, 0, 0, busy)


def _cpu(process: int) -> int:
    """Clock ticks of one process, its threads included."""
    words = Path(f"/proc/{process}/stat").read_text().rpartition(") ")[2].split()
    return int(words[11]) + int(words[12])


def _cpu_of(server: embedded.Server) -> int:
    """Clock ticks of every process of this PostgreSQL, those that have ended too."""
    (main,) = [int(line) for line in (server.socket / "data" / "postmaster.pid").read_text().splitlines()[:1]]
    total = 0
    words = Path(f"/proc/{main}/stat").read_text().rpartition(") ")[2].split()
    total += sum(int(word) for word in words[11:15])
    for child in Path(f"/proc/{main}/task/{main}/children").read_text().split():
        with contextlib.suppress(OSError):  # it ended meanwhile, and is in its parent's account now
            total += _cpu(int(child))
    return total


def _resident(process: int) -> float:
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[1]) / 1024  # type: ignore[index]


def main() -> None:
    """Measure and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=8)
    parser.add_argument("--connections", type=int, nargs="*", default=[1, 32])
    chosen = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is not installed: apt-get install wrk")
    runs: list[Measured] = []
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder)) as (environment, server):
        for _ in range(chosen.rounds):
            for connections in chosen.connections:
                runs.append(bare(environment, server, connections, chosen.seconds))
                runs.append(through_the_vault(environment, server, connections, chosen.seconds, Path(folder)))
                print(json.dumps(runs[-2].__dict__), json.dumps(runs[-1].__dict__), sep="\n", file=sys.stderr)
    reads.table(runs)
    if reads.AIMED_AT in chosen.connections:
        reads.verdict(runs)


if __name__ == "__main__":
    main()
