"""The environment with the tools we compare with: made once from peers.lock, apart from otobotctl's own."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import venv
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def environment() -> Path:
    """The directory of the peers' environment, installed if the lock has changed."""
    lock = _HERE / "peers.lock"
    directory = _HERE.parent / ".venv" / "peers"
    stamp = directory / "lock.sha256"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()
    if not stamp.exists() or stamp.read_text() != digest:
        print("installing pyinfra and Ansible into .venv/peers", file=sys.stderr)
        venv.create(directory, clear=True, with_pip=True)
        pip = (str(directory / "bin" / "python"), "-m", "pip", "install", "-qq", "--no-input", "-r", str(lock))
        subprocess.run(pip, check=True)
        stamp.write_text(digest)
    return directory
