"""Image references: which of two is the newer."""

from __future__ import annotations

import re


def tag(reference: str) -> str:
    """The tag of a reference; a reference without one is shown whole."""
    _, colon, found = reference.rpartition(":")
    return found if colon and "/" not in found else reference


def direction(before: str, after: str) -> str:
    """Say upgrade or downgrade of two versions of one image; image, where that cannot be told."""
    old, new = _numbers(tag(before)), _numbers(tag(after))
    if before.rpartition(":")[0] != after.rpartition(":")[0] or not old or not new or old == new:
        return "image"
    return "upgrade" if new > old else "downgrade"


def _numbers(version: str) -> tuple[int, ...]:
    found = re.match(r"v?(\d+(?:\.\d+)*)(?![0-9a-f])", version)
    return tuple(int(number) for number in found[1].split(".")) if found else ()
