"""Files that are on no disk, for programs that want a path where a secret is."""

from __future__ import annotations

import contextlib
import os
from typing import Dict, Iterator, List


@contextlib.contextmanager
def in_memory(contents: Dict[str, str]) -> Iterator[Dict[str, str]]:
    """Paths of files in memory, by name, that only this user's programs can open, and only as long as this lasts."""
    opened: List[int] = []
    paths = {}
    try:
        for name, text in contents.items():
            number = os.memfd_create(name)
            opened.append(number)
            os.fchmod(number, 0o600)  # ssh takes no key that others could read
            os.write(number, text.encode())
            paths[name] = "/proc/{}/fd/{}".format(os.getpid(), number)
        yield paths
    finally:
        for number in opened:
            os.close(number)
