"""The refresher's own /metrics and /health."""

from __future__ import annotations

import contextlib
import http.client
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from otobotctl.vault_api import contract
from scripts.story import embedded, vault
from tests.vault_api.conftest import USER, new_environment
from tests.waiting import until


def get(port, path):
    """Status and text."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with contextlib.closing(connection):
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


@pytest.fixture(scope="module")
def refresher(postgres, tmp_path_factory):
    """The port of a refresher whose vault has a valid, an expired and a broken connection, and its environment."""
    folder, environment, port = tmp_path_factory.mktemp("figures"), new_environment(postgres), embedded.free_port()
    with vault.serving(environment, folder / "vault") as running:
        token = environment["N8N_INTERNAL_TOKEN"]
        running.ask(contract.user_path(USER), "PUT", token=token, body={"email": "lea@acme.example"})
        for service, expires in (("google", "2199"), ("notion", "2020"), ("slack", "2020")):
            body = {"accessToken": "a", "refreshToken": "r", "expiresAt": f"{expires}-01-01T00:00:00Z"}
            assert running.ask(contract.credentials_path(USER, service), "PUT", token=token, body=body).status == 201
    with psycopg.connect(postgres.server.address(environment["VAULT_DATABASE_NAME"]), autocommit=True) as connection:
        connection.execute("UPDATE vault.client_connections SET status = 'broken' WHERE service_code = 'slack'")
    process = vault.start(environment, folder / "refresher", "refresher", "--metrics-port", str(port))
    try:
        until(lambda: get(port, "/health")[0] == 200, but=(OSError,))
        yield port, environment, postgres
    finally:
        assert vault.stop(process) == 0


def test_the_refresher_shows_tokens_sweeps_and_outcomes(refresher):
    """Tokens by state, those that are due and overdue, when it last came through, and how refreshes ended."""
    status, text = get(refresher[0], "/metrics")
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    assert status == 200
    assert [figures[f'vault_tokens{{state="{state}"}}'] for state in ("valid", "expired", "broken")] == ["1.0"] * 3
    assert float(figures['vault_refresher_tokens{what="overdue"}']) >= 1
    assert abs(float(figures["vault_refresher_swept"]) - time.time()) < 600
    assert any(name.startswith("vault_refreshes_total") for name in figures)


def test_its_container_is_asked_on_that_port_without_the_program_being_loaded(refresher):
    """What Docker runs every half minute is the small module alone, with the port that the container is started with."""
    folder = Path(__file__).resolve().parents[2] / "templates/services/token-refresher"
    command = re.search(r"command: (.*)", (folder / "compose.yaml.j2").read_text())[1]
    test = re.search(r"test: (.*)", (folder / "service.yaml").read_text())[1]
    assert test == '[python, -m, vault_api.health, "3002"]'
    assert '--metrics-port, "3002"' in command
    for port, code in ((refresher[0], 0), (embedded.free_port(), 1)):
        argv = [sys.executable, "-X", "importtime", "-m", "otobotctl.vault_api.health", str(port)]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == code, done.stderr
        assert not {"psycopg", "asyncio", "pydantic"} & {
            line.split("|")[-1].strip() for line in done.stderr.splitlines()
        }


def test_whatever_else_is_asked_is_not_there(refresher):
    """Another path is 404; what is no request, or none that ends, gets nothing, and the next is answered."""
    port = refresher[0]
    assert get(port, "/api/internal/services")[0] == 404
    for sent in (b"\r\n\r\n", b"x" * 20_000, b"GET /metrics"):
        with socket.create_connection(("127.0.0.1", port), timeout=60) as line, contextlib.suppress(ConnectionError):
            line.sendall(sent)
            assert b" 200 " not in line.recv(65536)
    assert get(port, "/health")[0] == 200


def test_figures_are_told_while_the_database_is_away(refresher):
    """No connection to PostgreSQL: what is known is still answered."""
    port, environment, postgres = refresher
    name = environment["VAULT_DATABASE_NAME"]
    with psycopg.connect(postgres.server.address(), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        try:
            assert "vault_refresher_swept" in get(port, "/metrics")[1]
        finally:
            admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
