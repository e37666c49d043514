"""A deployed client, as its tests look at it: from outside, on the host, in its database and in its archives."""

from __future__ import annotations

import hashlib
import json
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.e2e.operator import Operator
from tests.lab.host import Host
from tests.lab.shell import LabError
from tests.waiting import until

DOMAIN = "acme.example"
# Of what is not up yet: no connection, half an answer, a program that ends badly.
_NOT_YET = (OSError, LabError, httpx.TransportError, LookupError, ValueError)
FILL = """
CREATE TABLE IF NOT EXISTS public.filler AS
    SELECT i, md5(i::text) AS text, decode(md5(i::text), 'hex') AS bytes FROM generate_series(1, 50000) i;
"""
DIGEST = "SELECT count(*), md5(string_agg(i || text || encode(bytes, 'hex'), ',' ORDER BY i)) FROM public.filler"


@dataclass
class Deployed:
    """What the first deploy left behind, for every test of this module."""

    operator: Operator
    host: Host
    processes: str
    result: dict


def visit(host: Host, path: str, domain: str = DOMAIN) -> tuple[int, bytes]:
    """Ask the client's site from outside the host, by its name."""
    context = ssl._create_unverified_context()
    with (
        socket.create_connection((host.address, 443), 30) as raw,
        context.wrap_socket(raw, server_hostname=domain) as tls,
    ):
        tls.settimeout(30)
        tls.sendall(f"GET {path} HTTP/1.1\r\nHost: {domain}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := tls.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def eventually(check: Callable[[], object], limit_s: float = 120, pause_s: float = 0.5) -> object:
    """The first true answer. What a service that starts does to its callers is none."""
    return until(check, limit_s=limit_s, pause_s=pause_s, but=_NOT_YET)


def releases(host: Host) -> list[str]:
    """The release directories of the client, and where `current` points."""
    listed = host.ssh("ls /opt/otobot/acme/releases; readlink /opt/otobot/acme/current", user="root").stdout
    return listed.split()


def change_setting(operator: Operator, **settings: object) -> None:
    """Edit the manifest by hand, as an operator does."""
    path = operator.fleet / "clients-config.json"
    manifest = json.loads(path.read_text())
    manifest["clients"]["acme"]["settings"] = {"postgres": settings} if settings else {}
    path.write_text(json.dumps(manifest, indent=2) + "\n")


def in_database(host: Host, sql: str, database: str = "otobot_frontend") -> str:
    """What psql in the client's container says."""
    argv = [*host.ssh_argv(user="root"), "docker exec --interactive otobot-acme-postgres-1"]
    argv[-1] += f" psql --username=otobot_admin --no-psqlrc -v ON_ERROR_STOP=1 --quiet -At --dbname={database}"
    done = subprocess.run(argv, input=sql, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def unpacked(operator: Operator, sealed: Path, directory: Path) -> None:
    """Open an archive as somebody without otobotctl does: age, then unzip; every digest is its manifest's."""
    directory.mkdir()
    plain = directory / "plain.zip"
    identity = operator.home / ".config/otobotctl/identity.txt"
    subprocess.run(["age", "-d", "-i", str(identity), "-o", str(plain), str(sealed)], check=True, timeout=120)
    subprocess.run(["unzip", "-q", str(plain), "-d", str(directory)], check=True, timeout=120)
    for member in json.loads((directory / "manifest.json").read_text())["members"]:
        assert hashlib.sha256((directory / member["name"]).read_bytes()).hexdigest() == member["sha256"], member["name"]


def restored(host: Host, dump: Path) -> str:
    """Restore a dump into a scratch database with pg_restore; return the digest of its rows."""
    in_database(host, "DROP DATABASE IF EXISTS scratch;\nCREATE DATABASE scratch;", "postgres")
    words = "docker exec --interactive otobot-acme-postgres-1 pg_restore --username=otobot_admin --exit-on-error"
    with dump.open("rb") as stream:
        argv = [*host.ssh_argv(user="root"), f"{words} --dbname=scratch"]
        done = subprocess.run(argv, stdin=stream, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found = in_database(host, DIGEST, "scratch")
    in_database(host, "DROP DATABASE scratch", "postgres")
    return found


def names(host: Host, what: str, form: str) -> set[str]:
    """What Docker lists."""
    return set(host.ssh(f"docker {what} --format '{form}'", user="root").stdout.split())
