"""Looks over an operator's shoulder while a command runs: every process list of this machine and of the host."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from typing import Self

from tests.lab.host import Host


class ProcessLists:
    """Collects command lines and environments of every process, again and again, until `stop`.

    The host is a container of this machine's kernel, so one look at /proc sees the processes of both.
    """

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._collect, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _collect(self) -> None:
        while not self._end.wait(0.05):
            for entry in os.scandir("/proc"):  # not pathlib, which took twice as long
                if not entry.name.isdigit():
                    continue
                with contextlib.suppress(OSError):
                    self.seen.add(_read(f"{entry.path}/cmdline"))

    def text(self) -> str:
        """Everything seen, one command line a line."""
        return b"\n".join(each.replace(b"\0", b" ") for each in self.seen).decode(errors="replace")


def _read(path: str) -> bytes:
    """What the kernel says there, to its end."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        found = b""
        while part := os.read(descriptor, 1 << 20):
            found += part
        return found
    finally:
        os.close(descriptor)


def found_in_files(host: Host, values: list[str], *directories: str) -> list[str]:
    """Files under the host's directories that hold one of the values, as `grep -F` finds them."""
    done = subprocess.run(
        [*host.ssh_argv(user="root"), f"grep -rlaFf - {' '.join(directories)} 2>/dev/null || true"],
        input="\n".join(values),
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return done.stdout.split()
