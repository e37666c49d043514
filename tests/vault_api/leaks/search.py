"""Finds secrets in bytes, in every form that a program might write them in."""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import tempfile
import urllib.parse
from collections.abc import Mapping
from functools import cache

_HEX_KEY = re.compile(r"[0-9a-fA-F]{32,}")
SHORTEST = 12  # below it, chance would find it too
_LARGE = 100_000_000  # bytes times patterns
_NO_LINE = frozenset(b"\n\0")  # what no pattern of grep has
_Wanted = tuple[str, str, bytes]  # whose, in which form, as it is written


def forms(secret: str) -> dict[str, bytes]:
    """A secret as it might be written: raw, escaped for JSON, Python, SQL and URLs, in hexadecimal and base64."""
    raw = secret.encode()
    escaped = json.dumps(secret)[1:-1]
    found = {
        "raw": raw,
        "json": escaped.encode(),
        "json twice": json.dumps(escaped)[1:-1].encode(),
        "json unicode": json.dumps(secret, ensure_ascii=False)[1:-1].encode(),
        "python": repr(secret)[1:-1].encode(),
        "sql": secret.replace("'", "''").encode(),
        "url": urllib.parse.quote(secret, safe="").encode(),
        "form": urllib.parse.quote_plus(secret).encode(),
        **encoded(raw),
    }
    if _HEX_KEY.fullmatch(secret) and len(secret) % 2 == 0:  # a key, by what it stands for
        key = bytes.fromhex(secret)
        found |= {"the key's bytes": key, **{f"the key's {name}": form for name, form in encoded(key).items()}}
    return found


def encoded(raw: bytes) -> dict[str, bytes]:
    """Bytes in hexadecimal and in both base64 alphabets, with nothing, one or two bytes before them."""
    found = {"hex": raw.hex().encode(), "HEX": raw.hex().upper().encode()}
    for before in range(3):
        # What the bytes beside the secret have a part in is left out.
        part = slice(2 * before, (before + len(raw)) // 3 * 4)
        found[f"base64+{before}"] = base64.b64encode(b"x" * before + raw)[part]
        found[f"base64url+{before}"] = base64.urlsafe_b64encode(b"x" * before + raw)[part]
    return found


def leaks(places: Mapping[str, bytes], secrets: Mapping[str, str]) -> list[str]:
    """Where which secret stands, and in which form; neither its value nor what is around it.

    Raises:
        ValueError: a secret is so short that chance would find it.
    """
    short = [name for name, value in secrets.items() if len(value) < SHORTEST]
    if short:
        raise ValueError(f"too short to be looked for: {', '.join(short)}")
    wanted = [(name, form, written) for name, value in secrets.items() for form, written in _distinct(value)]
    return [
        f"{place}: {name} ({form})"
        for place, content in places.items()
        for name, form, written in _possible(content, wanted)
        if written in content
    ]


def _possible(content: bytes, wanted: list[_Wanted]) -> list[_Wanted]:
    """Those that have to be looked for one by one: of a large content, first all at once, a hundred times as fast."""
    if len(content) * len(wanted) < _LARGE:
        return wanted
    lines = [each for each in wanted if not _NO_LINE.intersection(each[2])]
    with tempfile.NamedTemporaryFile() as patterns:
        patterns.write(b"\n".join(written for _, _, written in lines))
        patterns.flush()
        argv = ("grep", "-q", "-a", "-F", "-f", patterns.name)
        done = subprocess.run(argv, input=content, env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return wanted if done.returncode == 0 else [each for each in wanted if _NO_LINE.intersection(each[2])]


@cache
def _distinct(secret: str) -> tuple[tuple[str, bytes], ...]:
    seen: dict[bytes, str] = {}
    for form, written in forms(secret).items():
        seen.setdefault(written, form)
    return tuple((form, written) for written, form in seen.items())
