"""n8n's queue: a real Redis that forgets nothing of what it was told, and a worker."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from scripts.story import embedded
from tests.lab.shell import LabError, run, until
from tests.n8n import real

START_LIMIT_S = 240


def missing() -> str:
    """Why this machine has no Redis, or nothing."""
    return "" if shutil.which("redis-server") else "redis-server is not installed"


@dataclass(frozen=True)
class Redis:
    """A Redis on loopback. Its append-only file keeps every write, and `told` every command, publications too."""

    port: int
    password: str
    folder: Path

    def settings(self) -> dict[str, str]:
        """What n8n and its workers read."""
        return {
            "EXECUTIONS_MODE": "queue",
            "OFFLOAD_MANUAL_EXECUTIONS_TO_WORKERS": "true",
            "QUEUE_BULL_REDIS_HOST": "127.0.0.1",
            "QUEUE_BULL_REDIS_PORT": str(self.port),
            "QUEUE_BULL_REDIS_PASSWORD": self.password,
        }

    def ask(self, *words: str) -> str:
        """One command's answer."""
        environment = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": self.password}
        return run("redis-cli", "-h", "127.0.0.1", "-p", str(self.port), *words, env=environment).stdout

    def files(self) -> dict[str, bytes]:
        """What it was told and what it stores, by file."""
        self.ask("SAVE")
        return {str(path): path.read_bytes() for path in self.folder.rglob("*") if path.is_file()}


@contextmanager
def redis(folder: Path) -> Iterator[Redis]:
    """Run a Redis whose data is below `folder`, in clear and never compacted."""
    served = Redis(embedded.free_port(), secrets.token_hex(16), folder)
    configuration = folder / "redis.conf"
    configuration.write_text(
        f"bind 127.0.0.1\nport {served.port}\ndir {folder}\nrequirepass {served.password}\nsave ''\n"
        "appendonly yes\nappendfsync always\nauto-aof-rewrite-percentage 0\naof-use-rdb-preamble no\nrdbcompression no\n"
    )
    with _ending_with_us(("redis-server", str(configuration)), folder / "redis.log", {"PATH": os.environ["PATH"]}):
        until(lambda: _answers(served), "Redis", 60, every_s=0.1)
        # The monitor has no configuration to read its password from but its environment.
        watching = {"PATH": os.environ["PATH"], "REDISCLI_AUTH": served.password}
        argv = ("redis-cli", "-h", "127.0.0.1", "-p", str(served.port), "MONITOR")
        with _ending_with_us(argv, folder / "told.log", watching):
            yield served


def _answers(served: Redis) -> bool:
    try:
        return served.ask("PING").strip() == "PONG"
    except LabError:
        return False


@contextmanager
def worker(tree: Path, folder: Path, settings: Mapping[str, str]) -> Iterator[None]:
    """Run a worker beside the n8n of `folder`, with the same settings, until the end of the block."""
    health = embedded.free_port()
    environment = {
        **real.environment(tree, folder, settings),
        "QUEUE_HEALTH_CHECK_ACTIVE": "true",
        "QUEUE_HEALTH_CHECK_PORT": str(health),
        "N8N_RUNNERS_BROKER_PORT": str(embedded.free_port()),
    }
    argv = (str(tree / "bin/node"), str(tree / "node_modules/n8n/bin/n8n"), "worker", "--concurrency=5")
    log = folder / "worker.log"
    with _ending_with_us(argv, log, environment) as process:

        def ready() -> bool:
            if process.poll() is not None:
                raise LabError(f"the worker ended: {log.read_text(errors='replace')[-3000:]}")
            return real.healthy(tree / "bin/node", health)

        until(ready, "the worker", START_LIMIT_S, every_s=0.5)
        yield


@contextmanager
def _ending_with_us(
    argv: tuple[str, ...], log: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("ab") as stream:
        process = subprocess.Popen(
            (*real.dying_with_us(), *argv), env=dict(environment), cwd=log.parent, stdin=subprocess.DEVNULL,
            stdout=stream, stderr=stream, start_new_session=True,
        )  # fmt: skip
    try:
        yield process
    finally:
        real.stop(process)
