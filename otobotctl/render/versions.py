"""Versions of images, as tags name them, and what is published about them."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

_Version = Annotated[str, Meta(pattern=r"^\d+(\.\d+)*$")]


class KnownBad(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A published vulnerability of the versions from `since` up to, and not including, `below`."""

    advisory: str
    below: _Version
    why: str
    since: _Version = "0"

    def holds(self, version: tuple[int, ...]) -> bool:
        """Whether a version has it."""
        return numbers(self.since) <= version < numbers(self.below)


def numbers(version: str) -> tuple[int, ...]:
    """Return the numbers that a tag such as v1.41.1-alpine begins with; none: an empty tuple."""
    found = re.match(r"v?(\d+(?:\.\d+)*)", version)
    return tuple(int(number) for number in found[1].split(".")) if found else ()
