"""The program as a container runs it: exit codes, health, logs, stopping."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from otobotctl.vault_api import connections, contract, refresher, schema
from scripts.story import embedded, vault
from tests.vault_api import conftest
from tests.waiting import until

PACKAGE = Path(schema.__file__).parent


def run(environment, *arguments):
    argv = [sys.executable, "-m", "otobotctl.vault_api", *arguments]
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=300)


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_wrong_configuration_ends_with_2_and_all_findings():
    """No variable set: exit 2, one log line with every finding."""
    done = run({}, "serve")
    (line,) = events(done.stderr)
    assert (done.returncode, line["event"]) == (2, "configuration_refused")
    assert len(line["findings"]) == 9


def test_migrate_twice(environment):
    """`migrate` brings the schema up to date, and says so again when there is nothing new."""
    assert (
        events(run(environment, "migrate").stderr)[-1]["migration"]
        == "0001_initial, 0002_guardian, 0003_clients_wall, 0004_reads"
    )
    again = run(environment, "migrate")
    assert (again.returncode, events(again.stderr)[-1]["migration"]) == (0, "none new")


def test_the_wrong_master_key_does_not_start(environment):
    """`serve` with another key ends with 1 before it listens, and logs neither key."""
    assert run(environment, "migrate").returncode == 0
    wrong = {**environment, "ENCRYPTION_MASTER_KEY": "cd" * 32}
    done = run(wrong, "serve", "--port", "1")
    assert done.returncode == 1
    assert "ENCRYPTION_MASTER_KEY is not the key" in done.stderr
    assert wrong["ENCRYPTION_MASTER_KEY"] not in done.stderr


def test_serve_stops_when_told(environment, tmp_path):
    """SIGTERM, as a container gets it: exit 0, and `health` answers 0 before and 1 after."""
    with vault.serving(environment, tmp_path / "log") as running:
        port = running.url.rpartition(":")[2]
        assert run({}, "health", "--port", port).returncode == 0
        assert vault.stop(running.process) == 0
        assert run({}, "health", "--port", port).returncode == 1


def test_health_is_503_while_the_database_is_away(postgres, environment, tmp_path):
    """A lost database turns health to 503 with the reason, reads to 503; both are well again when it is back."""
    name = environment["VAULT_DATABASE_NAME"]
    with (
        vault.serving(environment, tmp_path / "log") as running,
        psycopg.connect(postgres.server.address(), autocommit=True) as admin,
    ):
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,))
        answer = running.ask(contract.HEALTH_PATH)
        assert (answer.status, answer.body["status"], answer.body["checks"]["database"]) == (
            503,
            "unavailable",
            "unreachable",
        )
        read = running.ask(contract.credentials_path(conftest.USER, "google"), token=environment["N8N_INTERNAL_TOKEN"])
        assert read.status == 503
        admin.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
        until(lambda: running.ask(contract.HEALTH_PATH).status == 200, "the vault")


def test_health_knows_a_missing_migration(environment, tmp_path):
    """A ledger that lacks a migration this version needs is not healthy."""
    with vault.serving(environment, tmp_path / "log") as running:
        owner = f"user=vault_owner password={environment['VAULT_OWNER_PASSWORD']}"
        where = f"host={environment['VAULT_DATABASE_HOST']} port={environment['VAULT_DATABASE_PORT']} dbname={environment['VAULT_DATABASE_NAME']}"
        with psycopg.connect(f"{where} {owner}") as connection:
            connection.execute("DELETE FROM vault.schema_migrations")
        assert running.ask(contract.HEALTH_PATH).body["checks"] == {"database": "ok", "migrations": "missing"}


def test_both_internal_tokens_open_while_rotating(environment, tmp_path):
    """The current and the previous token are valid; a third is not."""
    both = {**environment, "N8N_INTERNAL_TOKEN_PREVIOUS": "previous-" * 5}
    with vault.serving(both, tmp_path / "log") as running:
        path = contract.credentials_path(conftest.USER, "google")
        statuses = [
            running.ask(path, token=token).status
            for token in (both["N8N_INTERNAL_TOKEN"], "previous-" * 5, "third" * 9)
        ]
    assert statuses == [404, 404, 401]


def test_the_refresher_looks_at_what_is_due(environment, tmp_path):
    """It tries tokens that run out soon, counts those that it could not renew, and is well from its first sweep on."""
    with vault.serving(environment, tmp_path / "log") as running:
        token = environment["N8N_INTERNAL_TOKEN"]
        running.ask(f"/api/internal/user/{conftest.USER}", "PUT", token=token, body={"email": "a@acme.example"})
        for service, expires in (("google", "2020-01-01T00:00:00Z"), ("notion", "2199-01-01T00:00:00Z")):
            body = {"accessToken": "a", "refreshToken": "r", "expiresAt": expires}
            assert (
                running.ask(contract.credentials_path(conftest.USER, service), "PUT", token=token, body=body).status
                == 201
            )
        port = str(embedded.free_port())
        assert run({}, "health", "--port", port).returncode == 1
        process = vault.start(environment, tmp_path / "refresher", "refresher", "--metrics-port", port)
        try:
            until(lambda: run({}, "health", "--port", port).returncode == 0, "the refresher")
        finally:
            assert vault.stop(process) == 0
    lines = events((tmp_path / "refresher").read_text())
    assert lines[0]["event"] == "refresher_started"
    sweep = next(line for line in lines if line["event"] == "sweep")
    assert (sweep["processed"], sweep["outcome"], sweep["due"], sweep["overdue"]) == (1, {"failed": 1}, 1, 1)
    assert next(line for line in lines if line["event"] == "refresh")["kind"] == "no_application"


def test_a_refresher_that_cannot_start_says_so_as_everything_else(environment):
    """Its exit code is 1, and what it writes are events: no traceback, whose last line may quote a row."""
    assert run(environment, "migrate").returncode == 0
    ended = run({**environment, "ENCRYPTION_MASTER_KEY": "ab" * 32}, "refresher")
    assert ended.returncode == 1
    assert [line["event"] for line in events(ended.stderr)] == ["refresher_failed"]
    assert events(ended.stderr)[0]["error"] == "KeysError"


def test_a_sweep_looks_further_than_to_the_next():
    """No token runs out between two sweeps, with a margin."""
    assert refresher.EVERY + timedelta(minutes=5) <= connections.REFRESH_AHEAD


def test_the_image_installs_exactly_what_is_pinned():
    """Every package of the image is pinned with hashes, which its Dockerfile demands, and it runs as nobody in particular."""
    lock = (PACKAGE / "requirements.lock").read_text()
    pinned = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]
    assert pinned
    assert all("==" in line and line.endswith("\\") for line in pinned)
    dockerfile = (PACKAGE / "Dockerfile").read_text()
    assert "--require-hashes" in dockerfile
    assert "USER 10001" in dockerfile


@pytest.mark.parametrize("module", sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")))
def test_the_package_runs_under_its_name_in_the_image(module):
    """Inside the image the package is called vault_api, so no module may name otobotctl."""
    assert "otobotctl" not in (PACKAGE / module).read_text()
