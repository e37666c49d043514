"""Secrets exchanged on a real host while it answers: every kind of them, killed at every boundary, and who may read them."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import pytest

from tests.e2e.deployed import DOMAIN, visit
from tests.e2e.operator import Operator
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.render.sample import catalog

SERVICES = ("postgres", "redis", "vault-api", "token-refresher", "nginx")
ROLES = {"FRONTEND_DB_PASSWORD": "vault_owner", "VAULT_RUNTIME_PASSWORD": "vault_runtime"}
REFUSED = {spec.name for spec in catalog().secret_specs(SERVICES) if spec.rotation == "refused"}
ROOT = Path(__file__).resolve().parents[2]
TOKENS = {
    "N8N_INTERNAL_TOKEN": ("x-internal-token", "/api/internal/connection-status/00000000-0000-4000-8000-000000000000"),
    "VAULT_OPERATOR_TOKEN": ("x-operator-token", "/api/admin/client"),
}


@dataclass
class Rotating:
    """One host with a client of every kind of secret."""

    operator: Operator
    host: Host

    def inside(self, service: str, script: str, value: str) -> int:
        """The exit status of a script in a container that reads a value from stdin."""
        argv = [*self.host.ssh_argv(user="root"), f"docker exec --interactive otobot-acme-{service}-1 sh -c '{script}'"]
        return subprocess.run(
            argv, input=f"{value}\n", text=True, capture_output=True, timeout=120, check=False
        ).returncode

    def logs_in(self, role: str, database: str, value: str) -> bool:
        """Whether PostgreSQL lets a login in over the network with this password."""
        script = f"read -r PGPASSWORD; export PGPASSWORD; psql -XAtq -h postgres -U {role} -d {database} -c 'SELECT 1'"
        return not self.inside("postgres", script.replace("'", '"'), value)

    def accepts(self, name: str, value: str) -> bool:
        """Whether the live system takes this value, asked without otobotctl."""
        if name in ROLES:
            return any(self.logs_in(ROLES[name] + turn, "otobot_frontend", value) for turn in ("", "_2"))
        if name == "POSTGRES_PASSWORD":
            return self.logs_in("otobot_admin", "postgres", value)
        if name == "REDIS_PASSWORD":
            script = 'read -r REDISCLI_AUTH; export REDISCLI_AUTH; [ "$(redis-cli ping 2>/dev/null)" = PONG ]'
            return not self.inside("redis", script, value)
        header, path = TOKENS[name]
        return self.status(path, header, value) != 401

    def status(self, path: str, header: str, value: str) -> int:
        """What the vault answers on the host to a request with a value in a header."""
        script = (
            f'read -r value; curl -s -o /dev/null -w "%{{http_code}}" -H "{header}: $value" http://127.0.0.1:3001{path}'
        )
        argv = [*self.host.ssh_argv(user="root"), f"sh -c '{script}'"]
        return int(
            subprocess.run(argv, input=f"{value}\n", text=True, capture_output=True, timeout=60, check=True).stdout
        )

    def killed(self, seen: Path, *words: str) -> subprocess.CompletedProcess[str]:
        """A call of `secrets rotate` that dies at the first boundary that is not in `seen`."""
        argv = [sys.executable, "-m", "tests.e2e.rotation_killed", str(seen)]
        argv += ["--fleet", str(self.operator.fleet), "secrets", "rotate", "acme", *words, "--wait"]
        environment = {**self.operator.environment(), "PYTHONPATH": str(ROOT)}
        return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False)

    def one_valid(self, before: dict[str, str]) -> None:
        """The host is healthy, and of each secret the store's value is valid and the former one is not."""
        now = self.operator.secrets("acme")
        assert [name for name in now if name.endswith("_PREVIOUS")] == []
        exchanged = {name for name in before if now[name] != before[name]}
        assert exchanged == set(before) - REFUSED
        for name in sorted({*ROLES, *TOKENS, "POSTGRES_PASSWORD", "REDIS_PASSWORD"}):
            assert self.accepts(name, now[name]), name
            assert not self.accepts(name, before[name]), name
        told = self.operator.data("status", "vps-1")["hosts"][0]["releases"]
        assert [release["trouble"] for release in told] == [{}, {}]
        assert self.operator.data("host", "apply", "vps-1")["changed"] == []
        assert self.operator.run("vault", "smoke", "acme").returncode == 0


def archives(rotating: Rotating) -> list[str]:
    """The files of the archives that were made before something."""
    folder = rotating.operator.fleet / "clients/acme/archives/before-deploy"
    return sorted(map(str, folder.glob("*.zip.age")))


@dataclass
class Prober:
    """Asks the client's site through the proxy, again and again; `failed` are the answers that were not 200."""

    host: Host
    asked: int = 0
    failed: list[tuple[float, object]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        began = time.monotonic()
        while not self._ended.is_set():
            self.asked += 1
            try:
                answer: object = visit(self.host, "/health")[0]
            except OSError as error:
                answer = type(error).__name__
            if answer != 200:
                self.failed.append((round(time.monotonic() - began, 1), answer))
            time.sleep(0.05)


@pytest.fixture(scope="module")
def rotating(lab: Lab, tmp_path_factory) -> Iterator[Rotating]:
    """Deployed by one command."""
    host = lab.make("warm")
    try:
        operator = Operator(tmp_path_factory.mktemp("operator"))
        operator.init()
        operator.add_host("vps-1", host)
        operator.create("acme", "vps-1", DOMAIN, *SERVICES)
        yield Rotating(operator, host)
    finally:
        lab.destroy(host)


@pytest.mark.timeout(1800)
def test_killed_at_every_boundary_it_goes_on_and_the_proxy_answers_all_along(rotating, tmp_path):
    """Killed in and behind each deploy and behind each write of the store; no request is refused meanwhile.

    One rotation of everything: the last call ends with one valid value of each secret.
    """
    before = rotating.operator.secrets("acme")
    seen = tmp_path / "seen"
    seen.touch()
    words, kills = ["--all", "--yes"], 0
    with Prober(rotating.host) as prober:
        while (ran := rotating.killed(seen, *words)).returncode == -signal.SIGKILL:
            kills += 1
            if any(name.endswith("_PREVIOUS") for name in rotating.operator.secrets("acme")):
                words = ["--resume"]
    print(seen.read_text())
    print(f"{kills} kills, {prober.asked} requests, {len(prober.failed)} failed: {prober.failed}")
    assert ran.returncode == 0, ran.stderr
    assert kills > 10
    assert prober.failed == []
    assert archives(rotating)  # of what was before: the command makes one first, as before a deploy
    rotating.one_valid(before)


def test_a_session_outlives_the_rotation_of_what_signed_it(rotating):
    """Nobody waits: the new value is in use, the former one accepted for as long as sessions live, and status says so."""
    before = rotating.operator.secrets("acme")["API_JWT_SECRET"]
    told = rotating.operator.data("secrets", "rotate", "acme", "API_JWT_SECRET", "--yes")
    assert (told["rotated"], list(told["waiting"])) == ([], ["API_JWT_SECRET"])
    assert told["archive"] in archives(rotating)
    now = rotating.operator.secrets("acme")
    assert now["API_JWT_SECRET_PREVIOUS"] == before != now["API_JWT_SECRET"]
    given = rotating.host.ssh("docker exec otobot-acme-vault-api-1 env", user="root").stdout
    assert f"API_JWT_SECRET={now['API_JWT_SECRET']}" in given
    assert f"API_JWT_SECRET_PREVIOUS={before}" in given
    standing = rotating.operator.data("secrets", "status", "acme")
    assert standing["overdue"] == 0
    assert {each["name"]: each["state"] for each in standing["secrets"]}["API_JWT_SECRET"] == "waiting"


def test_a_rollback_does_not_bring_former_values_back_unasked(rotating):
    """It names them, changes nothing and says how to go back with today's."""
    before = rotating.operator.data("releases", "acme")
    refused = rotating.operator.run("rollback", "acme", "--yes", check=False)
    assert refused.returncode == 2
    assert "brings back the former values of API_JWT_SECRET" in refused.stderr
    assert "--old-secrets" in refused.stderr
    assert rotating.operator.data("releases", "acme") == before


def test_what_somebody_may_know_is_exchanged_by_an_incident(rotating):
    """The former value opens nothing any more; what no machine can exchange is left to a person; the record has both."""
    before = rotating.operator.secrets("acme")
    named = ["--secret", "VAULT_RUNTIME_PASSWORD", "--secret", "AUDIT_HMAC_KEY"]
    done = rotating.operator.data("incident", "rotate-exposed", "acme", *named, "--yes")
    after = rotating.operator.secrets("acme")
    told = done["details"]["clients"]["acme"]
    assert "VAULT_RUNTIME_PASSWORD" in told["rotated"]
    assert list(told["refused"]) == ["AUDIT_HMAC_KEY"]
    assert [text for text in done["remaining"] if text.startswith("AUDIT_HMAC_KEY of acme cannot be exchanged")]
    assert after["AUDIT_HMAC_KEY"] == before["AUDIT_HMAC_KEY"]
    assert rotating.accepts("VAULT_RUNTIME_PASSWORD", after["VAULT_RUNTIME_PASSWORD"])
    assert not rotating.accepts("VAULT_RUNTIME_PASSWORD", before["VAULT_RUNTIME_PASSWORD"])
    (listed,) = rotating.operator.data("incident", "list")
    assert "rotate-exposed" in str(rotating.operator.data("incident", "report", listed["id"]))


def test_no_value_was_said(rotating):
    """By any command of this module, on either stream."""
    said = "".join(rotating.operator.said)
    assert [name for name, value in rotating.operator.secrets("acme").items() if value in said] == []
