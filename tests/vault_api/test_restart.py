"""PostgreSQL restarts beneath a vault that is read."""

from __future__ import annotations

import os
import pwd
import secrets
import subprocess
import threading
from types import SimpleNamespace

import psycopg
import pytest

from otobotctl.vault_api import contract
from scripts.story import embedded
from tests.vault_api import conftest
from tests.vault_api.test_audit import verify
from tests.waiting import until


def control(server, *what):
    """pg_ctl on this server, as the account that its data belong to."""
    data = server.socket / "data"
    account = pwd.getpwuid(data.stat().st_uid).pw_name if os.geteuid() == 0 else None
    argv = [str(server.binaries / "pg_ctl"), "-D", str(data), "-w", "-t", "100", *what]
    subprocess.run(
        argv, user=account, cwd=server.socket, check=True, timeout=120,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip


@pytest.fixture
def own():
    """A PostgreSQL that a test may restart, with the vault's roles."""
    with embedded.running() as server:
        passwords = {role: secrets.token_hex(16) for role in ("vault_owner", "vault_runtime")}
        with psycopg.connect(server.address(), autocommit=True) as connection:
            for role, password in passwords.items():
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{password}'")
        try:
            yield SimpleNamespace(server=server, passwords=passwords)
        finally:
            if (server.socket / "data" / "postmaster.pid").exists():
                control(server, "stop", "-m", "immediate")


def test_reads_come_back_with_postgresql(own, tmp_path):
    """Restarted twice under four readers: 200 or 503 all the time, 200 again by itself, every 200 audited, the audit whole."""
    fresh = conftest.Fresh(conftest.new_environment(own), own, tmp_path)
    where, stop, got = contract.credentials_path(conftest.USER, "google"), threading.Event(), []

    def read():
        while not stop.is_set():
            answer = fresh.ask(where)
            got.append((answer.status, answer.headers["x-request-id"]))

    def again(seen):
        """Wait until somebody is answered 200 after these."""
        until(lambda: any(status == 200 for status, _ in got[seen:]), "an answer")

    with fresh.serving():
        fresh.ask(contract.user_path(conftest.USER), "PUT", body={"email": "lea@acme.example"})
        assert fresh.ask(where, "PUT", body={"accessToken": "token"}).status == 201
        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        again(0)
        for mode in ("fast", "immediate"):
            control(own.server, "restart", "-m", mode)
            again(len(got))
        stop.set()
        for reader in readers:
            reader.join()
        with fresh.database() as connection:
            rows = connection.execute("SELECT request_id::text FROM credential_access_logs WHERE access_type = 'read'")
            written = {request for (request,) in rows}
    assert {status for status, _ in got} <= {200, 503}
    assert {request for status, request in got if status == 200} <= written
    assert verify(fresh)["broken"] == []
