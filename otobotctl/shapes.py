"""Data made into structs, one thread at a time.

msgspec works out what a struct's fields want when it is first asked, and a second thread that asks meanwhile finds half
of it and ends the process (SIGSEGV, seen with 0.22). Commands about many hosts are threads, so they come here.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar

import msgspec

T = TypeVar("T")
_TURN = threading.RLock()  # a struct may convert another one while it is made


def convert(data: Any, shape: type[T]) -> T:
    """Return `data` as `shape`. Raises msgspec.ValidationError."""
    with _TURN:
        return msgspec.convert(data, shape)


def decode(raw: bytes, shape: type[T]) -> T:
    """Return JSON as `shape`. Raises msgspec.ValidationError, msgspec.DecodeError."""
    with _TURN:
        return msgspec.json.decode(raw, type=shape)
