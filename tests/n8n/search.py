"""Looks for secrets in everything that n8n keeps: its database, its folder, and what its queue was told."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import tempfile
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any


def forms(secret: str) -> dict[str, bytes]:
    """A secret raw, URL-encoded, as JSON writes it, in hexadecimal, and in base64 behind nothing, one or two bytes."""
    raw, escaped = secret.encode(), json.dumps(secret)[1:-1]
    slashed = escaped.replace("/", "\\/")  # as PHP writes it
    found = {
        "raw": raw,
        "url": urllib.parse.quote(secret, safe="").encode(),
        "json": escaped.encode(),
        "json/": slashed.encode(),
        "json in json": json.dumps(escaped)[1:-1].encode(),
        "json/ in json": json.dumps(slashed)[1:-1].encode(),
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
    }
    for before in range(3):
        whole = base64.b64encode(b"x" * before + raw)
        # What the bytes beside the secret have a part in is left out.
        own = whole[2 * before : (before + len(raw)) // 3 * 4]
        found[f"base64+{before}"] = own
        found[f"base64url+{before}"] = own.translate(bytes.maketrans(b"+/", b"-_"))
        found[f"base64 in a url+{before}"] = urllib.parse.quote(own.decode(), safe="").encode()
    return found


def places(n8n: Any) -> dict[str, bytes | Path]:
    """Everything that this n8n has written, by where it is: the content, or its file."""
    n8n.executions_ended()
    found = {"pg_dump": n8n.dump(), **n8n.more()}
    return found | {str(path): path for path in n8n.folder.rglob("*") if path.is_file()}


def hits(found: Mapping[str, bytes | Path], *secrets: str) -> list[str]:
    """Where one of `secrets` is, and in which form."""
    wanted = {
        f"{name} of secret {number}": form for number, one in enumerate(secrets) for name, form in forms(one).items()
    }
    matches = {}
    with tempfile.NamedTemporaryFile() as patterns:
        patterns.write(b"\n".join(wanted.values()))
        patterns.flush()
        # n8n's folder has 700 files: one look at all of it, and then at those alone where something is.
        anywhere = _matches(found.values(), patterns.name) if wanted else set()
        for place, what in found.items() if anywhere else ():
            content = what.read_bytes() if isinstance(what, Path) else what
            if any(text in content for text in anywhere):
                matches[place] = _matches([content], patterns.name)
    return [
        f"{place}: {name}"
        for place, texts in matches.items()
        for name, form in wanted.items()
        if any(form in text for text in texts)
    ]


def _matches(where: Iterable[bytes | Path], patterns: str) -> set[bytes]:
    """What of the lines of a file is there; grep looks for all of them at once, a hundred times as fast."""
    contents = [each for each in where if isinstance(each, bytes)]
    files = [each for each in where if isinstance(each, Path)]
    argv = ("grep", "-o", "-a", "-h", "-F", "-f", patterns, "--", "-", *files)
    said = b"\n".join(contents)
    done = subprocess.run(argv, input=said, env={**os.environ, "LC_ALL": "C"}, capture_output=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return set(done.stdout.split(b"\n")) - {b""}


def stored(n8n: Any, *secrets: str) -> list[str]:
    """Where n8n holds one of `secrets`, and in which form."""
    return hits(places(n8n), *secrets)
