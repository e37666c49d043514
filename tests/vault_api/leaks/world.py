"""The real processes, at the most verbose level that each has, and everything that they leave behind."""

from __future__ import annotations

import contextlib
import os
import secrets
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from scripts.story import embedded, vault
from tests.vault_api import redis_server
from tests.vault_api.conftest import QUICK
from tests.vault_api.leaks.caller import Book
from tests.vault_api.oauth import provider

_VERBOSE = {
    "log_statement": "all",
    "log_min_messages": "debug1",
    "log_min_error_statement": "debug1",
    "log_error_verbosity": "verbose",
    "log_connections": "on",
    "log_parameter_max_length": "-1",
    "log_parameter_max_length_on_error": "-1",
}


class World:
    """A PostgreSQL that logs every statement with its parameters, a provider, and a folder of logs."""

    def __init__(
        self, server: embedded.Server, redis: redis_server.Server, stub: provider.Stub, port: int, directory: Path
    ) -> None:
        self.server, self.redis, self.stub, self.port, self.directory = server, redis, stub, port, directory
        self.book = Book()
        self.environment = self._environment()
        self.seen: set[bytes] = set()  # every command line of this machine while the world stood
        self.texts: dict[str, bytes] = {}  # what a test keeps for the search besides files

    def _environment(self) -> dict[str, str]:
        tokens = (
            "N8N_INTERNAL_TOKEN",
            "N8N_NODE_TOKEN",
            "API_JWT_SECRET",
            "VAULT_OPERATOR_TOKEN",
            "N8N_WEBHOOK_SECRET",
        )
        keys = ("ENCRYPTION_MASTER_KEY", "AUDIT_HMAC_KEY")
        passwords = ("VAULT_OWNER_PASSWORD", "VAULT_RUNTIME_PASSWORD")
        made = {name: self.book.know(name, secrets.token_urlsafe(48)) for name in tokens}
        made |= {name: self.book.know(name, secrets.token_hex(32)) for name in keys}
        made |= {name: self.book.know(name, f"pw-{secrets.token_hex(16)}") for name in passwords}
        with psycopg.connect(self.server.address(), autocommit=True) as connection:
            for name in passwords:
                role = name.removesuffix("_PASSWORD").lower()
                connection.execute(f"CREATE ROLE {role} LOGIN PASSWORD '{made[name]}'")
            connection.execute("CREATE DATABASE leaks OWNER vault_owner")
            # Only from here on: what sets a role's password is the operator's, and no statement of the vault's.
            for name, value in _VERBOSE.items():
                connection.execute(f"ALTER SYSTEM SET {name} = '{value}'")
            connection.execute("SELECT pg_reload_conf()")
        more = self.directory / "providers.yaml"
        more.write_text(provider.entry(self.port))
        hook = self.book.word("the alert webhook's key")
        self.book.know("the password of Redis", self.redis.password)
        return made | {
            **QUICK,
            "VAULT_REDIS_URL": self.redis.url,
            "VAULT_CLIENT": "acme",
            "VAULT_DATABASE_HOST": self.server.host,
            "VAULT_DATABASE_PORT": str(self.server.port),
            "VAULT_DATABASE_NAME": "leaks",
            "VAULT_OWNER_USER": "vault_owner",
            "VAULT_RUNTIME_USER": "vault_runtime",
            "VAULT_LOG_LEVEL": "debug",
            "VAULT_PUBLIC_URL": "https://vault.acme.example",
            "VAULT_ALLOWED_ORIGINS": "https://tools.acme.example",
            "VAULT_PUBLIC_RATE": "100000/minute",
            "VAULT_PROVIDERS_FILE": str(more),
            "VAULT_OUTBOUND_ALLOW": f"127.0.0.1:{self.port}",
            "VAULT_N8N_URL": f"http://127.0.0.1:{self.port}",
            "VAULT_ALERT_WEBHOOK": f"http://127.0.0.1:{self.port}/alert?key={hook}",
        }

    def log(self, name: str) -> Path:
        """The file that a process writes to."""
        return self.directory / f"{name}.log"

    def run(self, name: str, *arguments: str, stdin: str = "", **changed: str) -> subprocess.CompletedProcess[str]:
        """Run a command of the vault's program to its end; all that it says is kept, but for `call`'s own answer."""
        argv = [sys.executable, "-m", "otobotctl.vault_api", *arguments]
        environment = {**self.environment, **changed}
        done = subprocess.run(
            argv, env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=300
        )
        with self.log(name).open("a") as stream:
            stream.write(done.stderr + ("" if name == "call" else done.stdout))
        return done

    @contextlib.contextmanager
    def refresher(self) -> Iterator[subprocess.Popen[bytes]]:
        """The refresher's program."""
        process = vault.start(self.environment, self.log("refresher"), "refresher")
        try:
            yield process
        finally:
            vault.stop(process)

    def database(self) -> psycopg.Connection[tuple[Any, ...]]:
        """A connection as the superuser, looking into the vault's schema."""
        return psycopg.connect(self.server.address("leaks"), autocommit=True, options="-c search_path=vault")

    def dump(self) -> bytes:
        """The whole database, as pg_dump writes it."""
        argv = [self.server.binaries / "pg_dump", "--inserts", "--host", self.server.socket, "--port"]
        argv += [str(self.server.port), "--username", embedded.SUPERUSER, "leaks"]
        return subprocess.run(argv, capture_output=True, timeout=300, check=True).stdout

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Keep the command line of every process of the machine until the end of the block."""
        ending = threading.Event()

        def watch() -> None:
            while not ending.wait(0.2):
                self._look()

        thread = threading.Thread(target=watch, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()

    def _look(self) -> None:
        for entry in os.scandir("/proc"):
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    self.seen.add(Path(entry.path, "cmdline").read_bytes())

    def places(self) -> Mapping[str, bytes]:
        """Everything that is left behind, by where it is."""
        found = {f"log of {path.stem}": path.read_bytes() for path in sorted(self.directory.glob("*.log"))}
        found["log of PostgreSQL"] = (self.server.socket / "server.log").read_bytes()
        found["pg_dump"] = self.dump()
        found["contents of Redis"] = self.redis.contents()
        found["command lines"] = b"\n".join(self.seen)
        return found | self.texts


@contextlib.contextmanager
def standing(directory: Path) -> Iterator[World]:
    """A world until the end of the block."""
    stub = provider.Stub()
    with (
        embedded.running() as server,
        provider.running(stub) as port,
        redis_server.running(directory) as redis,
    ):
        world = World(server, redis, stub, port, directory)
        with world.watching():
            yield world
