"""Images built from this package, tagged with the digest of what they are built from."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

_IGNORED = ("__pycache__", ".pyc", ".mypy_cache", ".ruff_cache")
_AT_ROOT = ("Dockerfile", "requirements.lock")


@dataclass(frozen=True)
class BuiltImage:
    """An image and its build context. `files` are contents by their path in the context."""

    name: str
    tag: str
    files: Mapping[str, bytes] = field(repr=False)

    @property
    def reference(self) -> str:
        """The name that Compose runs: the same files always give the same one, and other files another."""
        return f"{self.name}:{self.tag}"


def read_context(package: Path, name: str) -> BuiltImage:
    """Read the build context of the image `otobot/<name>` from the folder of that name (with `_`) in `package`.

    Dockerfile and requirements.lock are at the context's root, the package itself is a folder there, as it is imported.
    """
    folder = package / name.replace("-", "_")
    files = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder)
        if path.is_file() and not any(part.endswith(_IGNORED) for part in relative.parts):
            within = relative.as_posix() if str(relative) in _AT_ROOT else f"{folder.name}/{relative.as_posix()}"
            files[within] = path.read_bytes()
    total = hashlib.sha256()
    for within, content in sorted(files.items()):
        total.update(f"{within}\0{len(content)}\0".encode())
        total.update(content)
    return BuiltImage(f"otobot/{name}", total.hexdigest()[:16], files)
