"""`client render`: the files of a client, without a host."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl import atomic
from otobotctl.errors import UsageError
from otobotctl.render.client import render_client
from otobotctl.workflows import secrets
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from pathlib import Path

    from otobotctl.fleet import Fleet
    from otobotctl.render.release import RenderedRelease
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class FileRow:
    """One rendered file, without its content."""

    path: str
    mode: int
    size: int
    digest: str


@dataclass(frozen=True)
class Rendered:
    """A rendering; `out` is where it was written, if it was."""

    client: str
    digest: str
    files: tuple[FileRow, ...]
    out: str | None


def release(loaded: Loaded, slug: str) -> RenderedRelease:
    """Render a client from the manifest and its sealed secrets."""
    client = loaded.manifest.client(slug)
    host = loaded.manifest.host(client.host)
    return render_client(client, host, client.index, secrets.opened(loaded, slug), loaded.catalog)


def render(fleet: Fleet, slug: str, out: Path | None) -> Rendered:
    """Render a client; with `out`, write the files there, each with its own mode."""
    loaded = load(fleet)
    found = release(loaded, slug)
    if out is not None:
        if out.exists() and not out.is_dir():
            raise UsageError(f"{out} is not a directory", hint="name a directory that is there, or a new one")
        out.mkdir(parents=True, exist_ok=True, mode=0o700)
        for file in found.files:
            atomic.write(out / file.path, file.content, file.mode)
    rows = tuple(FileRow(f.path, f.mode, len(f.content), hashlib.sha256(f.content).hexdigest()) for f in found.files)
    return Rendered(slug, found.digest, rows, str(out) if out else None)
