"""The SSH key that a CI gives in OTOBOTCTL_SSH_KEY: a file's name, or the key itself, which reaches no disk.

The system's ssh reads a key from a file. Where the kernel has them, that file is in memory and is gone with this
process, however it ends; elsewhere it is one that only this user can read, removed at the end.
"""

from __future__ import annotations

import atexit
import os
import sys
import tempfile
from functools import cache
from pathlib import Path

from otobotctl.errors import UsageError
from otobotctl.secrets import keys

VARIABLE = "OTOBOTCTL_SSH_KEY"
_HINT = "give it an OpenSSH private key without a passphrase, or the name of a file with one"


def identity() -> Path | None:
    """Return where ssh finds the key that was given, None where none was. Raises UsageError: it is no key."""
    return _identity(os.environ.get(VARIABLE, ""))


@cache
def _identity(said: str) -> Path | None:
    if not said.strip():
        return None
    if "PRIVATE KEY" not in said:
        path = keys.file_named(said)
        if path is None or not path.is_file():
            raise UsageError(f"{VARIABLE} is neither a private key nor the name of a file", hint=_HINT)
        return path.absolute()
    key = contents(said)
    if not key.startswith("-----BEGIN") or not key.rstrip().endswith("-----"):
        raise UsageError(f"{VARIABLE} is not a whole private key", hint=_HINT)
    return _in_memory(key.encode()) if sys.platform == "linux" else _on_disk(key.encode())


def contents(said: str) -> str:
    """Return a key as ssh wants it: CI systems lose the last line end, and some write the others out. Pure."""
    return said.replace("\\n", "\n").replace("\r", "").strip() + "\n"


def _in_memory(key: bytes) -> Path:
    descriptor = os.memfd_create("otobotctl", os.MFD_CLOEXEC)
    os.fchmod(descriptor, 0o600)  # ssh refuses a key that others could read
    os.write(descriptor, key)
    return Path("/proc") / str(os.getpid()) / "fd" / str(descriptor)


def _on_disk(key: bytes) -> Path:
    descriptor, name = tempfile.mkstemp(prefix="otobotctl-")  # 0600 from the first byte
    atexit.register(Path(name).unlink, missing_ok=True)
    with os.fdopen(descriptor, "wb") as file:
        file.write(key)
    return Path(name)
