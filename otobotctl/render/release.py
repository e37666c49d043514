"""What rendering gives: files in memory, and one digest over them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class RenderedFile:
    """One file of a release. `path` is relative to the release; `secret` means its content holds secret values."""

    path: str
    content: bytes = field(repr=False)
    mode: int = 0o644
    secret: bool = False


@dataclass(frozen=True, slots=True)
class RenderedProvision:
    """What `service` prepares once it is healthy. Each item is JSON text by its name, and may hold secret values."""

    service: str
    program: tuple[str, ...]
    items: tuple[str, ...] = field(repr=False)
    kept: str = ""
    remedy: str = ""


@dataclass(frozen=True, slots=True)
class RenderedRelease:
    """What one Compose project of a host should be.

    `client` names its directory under /opt/otobot, `project` is Compose's project name, `services` are the names of
    its containers and `files` are sorted by path. `digest` is the same for the same files, whoever rendered them.
    `images` are what the containers run; the data of `stateful` ones does not survive an older version.
    Not healthy after `wait_s` seconds, they will not be; `smoke` is run once they are: service, argv, timeout_s.
    `provisions` come after that, and are no part of the digest. `secrets` are the fingerprints, by name, of the secrets
    whose values its files hold.
    """

    client: str
    project: str
    files: tuple[RenderedFile, ...]
    services: tuple[str, ...]
    digest: str
    images: Mapping[str, str] = field(default_factory=dict)
    stateful: tuple[str, ...] = ()
    wait_s: int = 300
    smoke: tuple[Mapping[str, Any], ...] = ()
    provisions: tuple[RenderedProvision, ...] = ()
    secrets: Mapping[str, str] = field(default_factory=dict)

    def file(self, path: str) -> RenderedFile:
        """Return the file at `path`. Raises KeyError."""
        for file in self.files:
            if file.path == path:
                return file
        raise KeyError(path)


def release(
    client: str,
    project: str,
    files: Iterable[RenderedFile],
    images: Mapping[str, str],
    stateful: Iterable[str] = (),
    wait_s: int = 300,
    smoke: Iterable[Mapping[str, Any]] = (),
) -> RenderedRelease:
    """Put a release together: files sorted, digest taken. `images` are those of its containers, by name."""
    ordered = tuple(sorted(files, key=lambda file: file.path))
    return RenderedRelease(
        client, project, ordered, tuple(images), digest(ordered), images, tuple(stateful), wait_s, tuple(smoke)
    )


def digest(files: Iterable[RenderedFile]) -> str:
    """Return 32 hex digits over paths, modes and contents.

    It is shown in labels and plans. An environment file always holds at least one minted secret beside a given one, so
    nobody can test guesses against it.
    """
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.path}\0{file.mode:o}\0{len(file.content)}\0".encode())
        total.update(file.content)
    return total.hexdigest()[:32]
