"""A real n8n as a process of its own on loopback, with its own folder and its own database."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import httpx
import psycopg

from otobotctl.render.catalog import load_catalog
from scripts.story import embedded
from tests.lab.shell import LabError, until
from tests.n8n.client import N8n

START_LIMIT_S = 240


@contextmanager
def serving(tree: Path, folder: Path, settings: Mapping[str, str], *, owner: bool = True) -> Iterator[N8n]:
    """Run the n8n of `tree` until the end of the block, with an `owner` or as bare as it starts.

    Its data is below `folder`, and what it was started with is its `environment`.

    Raises:
        LabError: it did not come up; the text has the last lines of its log.
    """
    port = embedded.free_port()
    variables = {
        **environment(tree, folder, settings),
        "N8N_PORT": str(port),
        "N8N_RUNNERS_BROKER_PORT": str(embedded.free_port()),
    }
    log = folder / "n8n.log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            (*dying_with_us(), tree / "bin/node", tree / "node_modules/n8n/bin/n8n", "start"),
            env=variables, cwd=folder, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
    n8n = N8n(f"http://127.0.0.1:{port}", folder, log, variables)
    try:
        until(lambda: _ready(process, n8n), f"n8n on port {port}", START_LIMIT_S, every_s=0.2)
        if owner:
            n8n.become_owner()
        yield n8n
    finally:
        n8n.http.close()
        stop(process)


def environment(tree: Path, folder: Path, settings: Mapping[str, str]) -> dict[str, str]:
    """What the n8n of `tree` reads whose folder this is, and no other variable."""
    return {
        "PATH": f"{tree / 'bin'}:/usr/bin:/bin",
        "HOME": str(folder),
        "N8N_USER_FOLDER": str(folder),
        "N8N_LISTEN_ADDRESS": "127.0.0.1",
        "N8N_SECURE_COOKIE": "false",
        "N8N_DIAGNOSTICS_ENABLED": "false",
        "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
        "N8N_PERSONALIZATION_ENABLED": "false",
        "N8N_TEMPLATES_ENABLED": "false",
        "NODE_ENV": "production",
        "GENERIC_TIMEZONE": "Europe/Paris",
        **settings,
    }


def own_database(server: embedded.Server) -> tuple[str, str]:
    """Make a database for one n8n, and the role that owns it; return the name of both and the role's password."""
    name, password = f"n8n_{secrets.token_hex(3)}", secrets.token_hex(16)
    with psycopg.connect(server.address(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    return name, password


def database_settings(server: embedded.Server, name: str, password: str) -> dict[str, str]:
    """What n8n reads to find the database `name`, whose owner of the same name has this password."""
    return {
        "DB_TYPE": "postgresdb",
        "DB_POSTGRESDB_HOST": server.host,
        "DB_POSTGRESDB_PORT": str(server.port),
        "DB_POSTGRESDB_DATABASE": name,
        "DB_POSTGRESDB_USER": name,
        "DB_POSTGRESDB_PASSWORD": password,
    }


def healthy(node: Path, port: int) -> bool:
    """What Docker's health check says of the n8n or the worker on `port`, run by `node`."""
    health = load_catalog().services["n8n"].health
    assert health is not None
    argv = [word.replace(":5678", f":{port}") for word in health.test[1:]]
    return subprocess.run([node, *argv], capture_output=True, timeout=120, check=False).returncode == 0


def dying_with_us() -> tuple[str, ...]:
    """What a program is started by, to end when this process does."""
    return ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()


def _ready(process: subprocess.Popen[bytes], n8n: N8n) -> bool:
    """/healthz answers before the migrations are through, and others then with 503 or a page that says to wait."""
    if process.poll() is not None:
        raise LabError(f"n8n ended with {process.returncode}: {n8n.log.read_text(errors='replace')[-3000:]}")
    try:
        answer = n8n.http.get("/rest/settings")
        return answer.status_code == 200 and answer.headers.get("content-type", "").startswith("application/json")
    except httpx.HTTPError:
        return False


def stop(process: subprocess.Popen[bytes]) -> None:
    """End a process group that `dying_with_us` began; one that does not listen is killed."""
    process.terminate()
    try:
        process.wait(60)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
