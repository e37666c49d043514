"""A Door to this machine: the very command that a host would run, with the host's directories moved aside."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from otobotctl.agent.protocol import RUNTIME_DIR, STATE_DIR
from otobotctl.errors import HostUnreachableError
from otobotctl.transport.base import Finished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_SUDO = """#!/bin/sh
# Stands in for sudo where the tests do not run as root: everything is allowed.
[ "$1" != -n ] || shift
exec "$@"
"""


@dataclass
class LocalHost:
    """A directory that stands in for a host; `executions` are the argvs that were run on it."""

    root: Path
    python: Path = Path(sys._base_executable)
    executions: list[tuple[str, ...]] = field(default_factory=list)
    sent: list[bytes] = field(default_factory=list)
    path: str = field(default_factory=lambda: os.environ["PATH"])
    gone: bool = False
    renewed: list[int] = field(default_factory=list)  # how many executions there were when a new login was asked for
    cut_after: Callable[[bytes], bool] | None = None  # the line breaks behind the first line that matches
    spoil: Callable[[bytes], bytes] = bytes  # what the line does to raw bytes

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def journals(self) -> list[Path]:
        return sorted((self.state / "runs").glob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)

    def open(self) -> LocalDoor:
        if self.gone:
            raise HostUnreachableError("here: gone")
        programs = self.root / "bin"
        if not programs.exists():
            programs.mkdir(parents=True)
            self.add_program("sudo", _SUDO)
            (programs / "python3").symlink_to(self.python)
        return LocalDoor(self)

    def add_program(self, name: str, text: str) -> None:
        path = self.root / "bin" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)

    def moved(self, text: str) -> str:
        """What is said to the host, with its own places; without the kernel's word `id` says who it is."""
        places = {
            STATE_DIR: self.state,
            RUNTIME_DIR: self.root / "run",
            "/usr/bin/python3": self.root / "bin/python3",
            "/proc/self/status": self.root / "no-status",
        }
        for there, here in places.items():
            text = text.replace(there, str(here))
        return text


class LocalDoor:
    name = "here"

    def __init__(self, host: LocalHost) -> None:
        self._host = host
        self._channels: list[LocalChannel] = []

    def execute(self, argv: tuple[str, ...], *, silence_s: float = 15.0) -> LocalChannel:
        self._host.executions.append(argv)
        path = f"{self._host.root / 'bin'}:{self._host.path}"
        channel = LocalChannel(self._host, [self._host.moved(word) for word in argv], dict(os.environ, PATH=path))
        self._channels.append(channel)
        return channel

    def renew(self) -> None:
        self._host.renewed.append(len(self._host.executions))

    def close(self) -> None:
        for channel in self._channels:
            channel.close()


class LocalChannel:
    def __init__(self, host: LocalHost, argv: list[str], env: dict[str, str]) -> None:
        self._host = host
        self.process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=env,
            process_group=0,
        )

    def send(self, data: bytes) -> None:
        self._host.sent.append(data)
        self.process.stdin.write(data)
        self.process.stdin.flush()

    def lines(self) -> Iterable[bytes]:
        for line in self.process.stdout:
            yield line.rstrip(b"\n")
            if self._host.cut_after and self._host.cut_after(line):
                self._host.cut_after = None
                self.close()
                raise HostUnreachableError("here: the line broke")

    def read(self, size: int) -> bytes:
        return self._host.spoil(self.process.stdout.read(size))

    def finish(self) -> Finished:
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        stderr = self.process.stderr.read().decode("utf-8", "replace")
        return Finished(self.process.wait(), stderr)

    def close(self) -> None:
        """Cut the line: whatever the command's own process group still does ends, as under sshd."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
