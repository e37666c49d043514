"""IA Interne as its callers see it from outside, and a setup that dies in every stage."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Self

import httpx

from tests.e2e.operator import Operator
from tests.e2e.site import browser
from tests.lab.authority import Authority
from tests.lab.host import Host

DOMAIN = "ia.otobot.example"
URL = f"https://{DOMAIN}"
ROOT = Path(__file__).parents[2]


def ask(host: Host, key: str = "", path: str = "/v1/models", **more: object) -> httpx.Response:
    """What a caller gets of a host: a question with `json`, or else a look."""
    with browser(host.address) as visitor:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return visitor.request("POST" if more else "GET", URL + path, headers=headers, **more)


def status(host: Host, key: str = "") -> int:
    """The status of a look, 0 where nothing answers."""
    try:
        return ask(host, key).status_code
    except httpx.TransportError:
        return 0


def root(host: Host, command: str) -> str:
    """What a command on a host says."""
    return host.ssh(command, user="root").stdout


def trusted(host: Host, name: str, authority: Authority) -> bool:
    """Whether a visitor who trusts the authority alone, and checks the name, gets in."""
    context = ssl.create_default_context(cadata=authority.root())
    with (
        contextlib.suppress(OSError),
        socket.create_connection((host.address, 443), 30) as raw,
        context.wrap_socket(raw, server_hostname=name),
    ):
        return True
    return False


class Streaming:
    """Answers that would not end for minutes, by one host; each is read in a thread until `leave`."""

    def __init__(self, host: Host, key: str, count: int, model: str = "tiny:1b") -> None:
        self._host, self._left = host, threading.Event()
        body = json.dumps({"model": model, "stream": True, "max_tokens": 100_000})
        head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: {DOMAIN}\r\nAuthorization: Bearer {key}\r\n"
        self._sent = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()
        self.come = [0] * count  # bytes of each
        self._threads = [threading.Thread(target=self._read, args=(place,), daemon=True) for place in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def _read(self, place: int) -> None:
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            contextlib.suppress(OSError),
            socket.create_connection((self._host.address, 443), 60) as raw,
            context.wrap_socket(raw, server_hostname=DOMAIN) as line,
        ):
            line.sendall(self._sent)
            while not self._left.is_set() and (data := line.recv(65536)):
                self.come[place] += len(data)

    def go_on(self) -> bool:
        """Whether something more comes on every one of them from now on, within two minutes."""
        before, end = list(self.come), time.monotonic() + 120
        while not all(now > then for now, then in zip(self.come, before, strict=True)):
            if time.monotonic() > end:
                return False
            time.sleep(0.1)
        return all(thread.is_alive() for thread in self._threads)

    def leave(self) -> None:
        """As a caller who has heard enough."""
        self._left.set()
        for thread in self._threads:
            thread.join(60)


def interrupted(operator: Operator, host: Host, seen: Path, worker_dies_in: str, *words: str) -> list[str]:
    """Set the host up, and die once in every stage that is not in `seen` yet: the stages, in their order."""
    ends = shlex.join((*host.ssh_argv(user="root"), "systemctl kill --signal=KILL 'otobot-*.scope' || true"))
    argv = [sys.executable, "-m", "tests.e2e.setup_killed", str(seen), worker_dies_in, ends]
    argv += ["--fleet", str(operator.fleet), *words]
    environment = {**operator.environment(), "PYTHONPATH": str(ROOT)}
    boot = host.wait_for_login()
    for _ in range(30):
        before = seen.read_text()
        ran = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=600, check=False)
        assert "Traceback" not in ran.stderr
        if ran.returncode == 0:
            break
        died_in = seen.read_text().removeprefix(before).split()
        assert died_in, ran.stderr  # it ended because of us
        if died_in == ["reboot"]:
            host.wait_for_login(400, other_than=boot)
    assert ran.returncode == 0, ran.stderr
    return seen.read_text().split()
