"""The vault API as a process of its own on this machine."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from otobotctl.vault_api import contract
from scripts.story import embedded

START_LIMIT_S = 120


@dataclass(frozen=True)
class Answer:
    """One answer of the vault; `body` is its JSON."""

    status: int
    body: Any
    headers: Mapping[str, str]


@dataclass(frozen=True)
class Vault:
    """A vault that answers at `url`; its log is at `log`."""

    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def ask(
        self, path: str, method: str = "GET", *, token: str | None = None, node: str | None = None, body: Any = None
    ) -> Answer:
        """One request by the internal token, or by the one of n8n's node."""
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data=data, method=method)
        if token is not None:
            request.add_header(contract.TOKEN_HEADER, token)
        if node is not None:
            request.add_header(contract.NODE_HEADER, node)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as response:
                return Answer(response.status, json.load(response), dict(response.headers.items()))
        except urllib.error.HTTPError as error:
            with error:
                return Answer(error.code, json.load(error), dict(error.headers.items()))


def start(environment: Mapping[str, str], log: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """Start the vault's program with this environment and no other; it ends with us, even if we are killed."""
    wrapper = ("setpriv", "--pdeathsig", "TERM", "--") if shutil.which("setpriv") else ()
    argv = (*wrapper, sys.executable, "-m", "otobotctl.vault_api", *arguments)
    with log.open("ab") as stream:
        return subprocess.Popen(argv, env=dict(environment), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream)


@contextmanager
def serving(environment: Mapping[str, str], log: Path) -> Iterator[Vault]:
    """Serve until the end of the block.

    Raises:
        RuntimeError: it did not become healthy; the text has the last lines of its log.
    """
    port = embedded.free_port()
    process = start(environment, log, "serve", "--host", "127.0.0.1", "--port", str(port))
    vault = Vault(f"http://127.0.0.1:{port}", log, process)
    try:
        _wait(vault)
        yield vault
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> int:
    """End it as a container is ended, and return its exit status."""
    process.terminate()
    try:
        return process.wait(60)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _wait(vault: Vault) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while vault.process.poll() is None and time.monotonic() < deadline:
        try:
            if vault.ask(contract.HEALTH_PATH).status == 200:
                return
        except (OSError, ValueError):
            time.sleep(0.05)
    raise RuntimeError(f"the vault API did not become healthy: {vault.log.read_text(errors='replace')[-2000:]}")
