"""A real Redis with a password, on a port of loopback of its own; it can be stopped, halted and started again."""

from __future__ import annotations

import contextlib
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import redis

from scripts.story import embedded
from tests.lab.fixtures import unavailable
from tests.waiting import until

START_LIMIT_S = 60


class Server:
    """Redis at `url`, whose password no argument shows."""

    def __init__(self, directory: Path) -> None:
        self.port = embedded.free_port()
        self.password = secrets.token_urlsafe(32)
        self.url = f"redis://:{self.password}@127.0.0.1:{self.port}/0"
        self.log = directory / "redis.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        said = f"port {self.port}\nbind 127.0.0.1\nrequirepass {self.password}\nsave ''\nloglevel debug\n"
        dying = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()
        with self.log.open("ab") as stream:
            self._process = subprocess.Popen(
                (*dying, "redis-server", "-"), stdin=subprocess.PIPE, stdout=stream, stderr=stream, cwd=self.log.parent
            )
        assert self._process.stdin is not None
        self._process.stdin.write(said.encode())
        self._process.stdin.close()

        def up() -> object:
            with self.client() as client:
                return client.ping()

        until(up, lambda: self.log.read_text()[-2000:], limit_s=START_LIMIT_S, but=(redis.ConnectionError,))

    def client(self) -> redis.Redis:
        """A connection of the test's own."""
        return redis.Redis(host="127.0.0.1", port=self.port, password=self.password)

    def halt(self) -> None:
        """Let it answer nothing any more, though its port is open."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """End a halt."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self.go_on()
            self._process.kill()
            self._process.wait(60)
            self._process = None

    def contents(self) -> bytes:
        """Every key with its value."""
        found = []
        with self.client() as client:
            for key in client.scan_iter():
                found += [key, client.dump(key) or b""]
        return b"\n".join(found)


def installed() -> bool:
    """Whether this machine has one."""
    return shutil.which("redis-server") is not None


@contextlib.contextmanager
def running(directory: Path) -> Iterator[Server]:
    """Run one until the end of the block; where there is none, the test is skipped, or fails in CI."""
    if not installed():
        unavailable("redis-server is not installed")
    server = Server(directory)
    server.start()
    try:
        yield server
    finally:
        server.stop()
