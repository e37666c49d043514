"""Who is at the other end: the account that logged in, and from where."""

from __future__ import annotations

import os
import pwd
from typing import Tuple

_MARK = b"SSH_CONNECTION="


def account() -> str:
    """The account that logged in: sudo's word for it, or the process's own user."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def address() -> str:
    """The address that the login came from; "" where there is none to be found (a console, another user's process).

    sudo does not pass it on, so the first process above this one that has it is asked.
    """
    process = os.getpid()
    found = ""
    while process > 1 and not found:
        found, process = _look(process)
    return found


def _look(process: int) -> Tuple[str, int]:
    """The address in one process's environment, and its parent; ("", 0) where it has ended or is not to be read."""
    try:
        with open("/proc/{}/environ".format(process), "rb") as stream:
            entries = [each for each in stream.read().split(b"\0") if each.startswith(_MARK)]
        with open("/proc/{}/stat".format(process), "rb") as stream:
            parent = int(stream.read().rpartition(b")")[2].split()[1])
    except (OSError, ValueError, IndexError):
        return "", 0
    return (entries[0][len(_MARK) :].split(b" ")[0].decode("ascii", "replace") if entries else ""), parent
