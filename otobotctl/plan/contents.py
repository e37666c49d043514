"""Files that travel inside a step: a build context, a release."""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from otobotctl.plan.fields import Mode

# Relative, plain segments: no "..", no leading dash or slash, nothing that a path or an archive reads otherwise.
RelativePath = Annotated[
    str,
    Meta(
        pattern=r"\A(?!.*(?:\A|/)\.\.?(?:/|\Z))(?:[A-Za-z0-9._@+][A-Za-z0-9._@+-]*/)*[A-Za-z0-9._@+][A-Za-z0-9._@+-]*\Z"
    ),
]


class Content(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One file: its text or its bytes. `secret`: it is never shown, and only root reads it."""

    path: RelativePath
    content: str | None = None
    content_base64: str | None = None
    mode: Mode = "0644"
    secret: bool = False

    def __post_init__(self) -> None:
        if (self.content is None) == (self.content_base64 is None):
            raise ValueError("give either content or content_base64")
        if self.content_base64 is not None:
            try:
                base64.b64decode(self.content_base64, validate=True)
            except binascii.Error:
                raise ValueError("content_base64 is not base64") from None

    def __repr__(self) -> str:
        return f"Content(path={self.path!r}, mode={self.mode!r}, secret={self.secret})"

    def data(self) -> bytes:
        """The bytes."""
        return (self.content or "").encode() if self.content_base64 is None else base64.b64decode(self.content_base64)

    def sha256(self) -> str:
        """The digest of the bytes, in hex."""
        return hashlib.sha256(self.data()).hexdigest()

    def wire(self) -> dict[str, Any]:
        """The file as the agent takes it."""
        encoded = base64.b64encode(self.data()).decode()
        return {"path": self.path, "content_base64": encoded, "mode": self.mode, "secret": self.secret}


def digest(files: Iterable[Content], *more: str) -> str:
    """One digest of the paths, modes and bytes, whatever their order: 64 hex digits."""
    lines = [f"{file.path}\0{file.mode}\0{file.sha256()}" for file in files]
    return hashlib.sha256("\n".join([*sorted(lines), *more]).encode()).hexdigest()


def refuse_twins(files: Iterable[Content]) -> None:
    """Raise ValueError when two files have one path, or one is a directory of the other."""
    seen: set[str] = set()
    for path in sorted(file.path for file in files):
        parents = {path[:at] for at, mark in enumerate(path) if mark == "/"}
        if path in seen or parents & seen:
            raise ValueError(f"two files want the path {path}")
        seen.add(path)
