"""What dpkg's own record says is installed: dpkg-query would be a process that reads the same file, and more slowly."""

from __future__ import annotations

import os
from typing import Dict, Optional, Sequence

STATUS = "/var/lib/dpkg/status"
UPDATES = "/var/lib/dpkg/updates"
_THERE = (b"installed", b"triggers-awaited", b"triggers-pending")
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyz0123456789+-.")


def journalled() -> bool:
    """Whether dpkg is at work, or was interrupted: what it did last is not yet in its record but in numbered files."""
    try:
        return any(name.isdigit() for name in os.listdir(UPDATES))
    except FileNotFoundError:
        return False


def installed(names: Sequence[str]) -> Optional[Dict[str, str]]:
    """Those of `names` that are fully installed, with their versions; None where the record alone cannot tell."""
    if not all(_PLAIN.issuperset(name) for name in names):
        return None  # a pattern, or a name with its architecture
    try:
        if journalled():
            return None
        with open(STATUS, "rb") as stream:
            text = stream.read()
    except OSError:
        return None
    wanted = {name.encode() for name in names}
    found: Dict[str, str] = {}
    for entry in text.split(b"\n\n"):
        if not entry.strip():
            continue
        first, _, rest = entry.lstrip(b"\n").partition(b"\n")
        if not first.startswith(b"Package: "):
            return None  # not the file that we know
        name = first[9:].strip()
        if name not in wanted:
            continue
        status, version = _field(rest, b"Status: "), _field(rest, b"Version: ")
        if status.split()[2:] and status.split()[2] in _THERE:
            found[name.decode()] = version.decode()
    return found


def _field(lines: bytes, name: bytes) -> bytes:
    """The value of one field; lines that go on an earlier one begin with a blank, so none of them is taken for it."""
    text = b"\n" + lines
    begin = text.find(b"\n" + name)
    if begin < 0:
        return b""
    begin += 1 + len(name)
    end = text.find(b"\n", begin)
    return text[begin : end if end >= 0 else len(text)].strip()
