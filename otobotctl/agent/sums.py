"""SHA-256 without OpenSSL, which `hashlib` loads: that takes longer than to sum all files of a host's settings."""

from __future__ import annotations

import sys
from typing import Any

_SMALL_BYTES = 1 << 20  # from here on OpenSSL's speed is worth its start


def sha256(data: bytes = b"", size_bytes: int = 0) -> Any:
    """A hash object as hashlib's; `size_bytes`: how much is going to be summed, where that is known."""
    if size_bytes < _SMALL_BYTES:
        try:
            return __import__("_sha2" if sys.version_info >= (3, 12) else "_sha256").sha256(data)
        except (ImportError, AttributeError):  # a Python that is built otherwise
            pass
    import hashlib

    return hashlib.sha256(data)
