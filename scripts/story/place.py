"""Directories of the demo's own, named after its process, so that the next demo removes what a killed one left."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path("/tmp")  # short enough for a socket's path, and open to the account that PostgreSQL gets below root
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def directory(name: str, *, keep: bool = False) -> Iterator[Path]:
    """A fresh directory, removed at the end unless it is to be kept."""
    _sweep(name)
    made = Path(tempfile.mkdtemp(prefix=f"otobot-{name}-{os.getpid()}-", dir=ROOT))
    try:
        yield made
    finally:
        if not keep:
            with undisturbed():
                shutil.rmtree(made, ignore_errors=True)


@contextmanager
def undisturbed() -> Iterator[None]:
    """No signal interrupts this block: a second Ctrl-C must not stop the clearing up."""
    previous = {number: signal.signal(number, signal.SIG_IGN) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _sweep(name: str) -> None:
    prefix = f"otobot-{name}-"
    if not Path("/proc/self").exists():  # not Linux: nothing tells which process is gone
        return
    for left in ROOT.glob(f"{prefix}*-*"):
        owner = left.name.removeprefix(prefix).partition("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(left, ignore_errors=True)
