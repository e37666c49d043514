"""One file: its content, mode, owner and group."""

from __future__ import annotations

import base64
import binascii
import hashlib
import shlex
from typing import Any, ClassVar

from otobotctl.plan.fields import AbsolutePath, Account, Mode, State, attribute_changes, refusal, unified
from otobotctl.plan.model import Change, Facts, Spec


class FileSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The file `path` has exactly this content. `secret`: its content is never shown, diffed or reported back."""

    kind: ClassVar[str] = "file"

    path: AbsolutePath
    content: str | None = None
    content_base64: str | None = None
    owner: Account = "root"
    group: Account = "root"
    mode: Mode = "0644"
    secret: bool = False
    state: State = "present"

    def __post_init__(self) -> None:
        given = (self.content is not None) + (self.content_base64 is not None)
        if self.state == "present" and given != 1:
            raise ValueError("give either content or content_base64")
        if self.state == "absent" and given:
            raise ValueError("an absent file has no content")
        if self.content_base64 is not None:
            try:
                base64.b64decode(self.content_base64, validate=True)
            except binascii.Error:
                raise ValueError("content_base64 is not base64") from None
        if self.secret and int(self.mode, 8) & 0o007:
            raise ValueError("a secret file is not for everybody: its mode must end in 0")

    def __repr__(self) -> str:
        return f"FileSpec(path={self.path!r}, mode={self.mode!r}, owner={self.owner!r}, secret={self.secret})"

    def data(self) -> bytes:
        """The wanted bytes."""
        if self.content_base64 is not None:
            return base64.b64decode(self.content_base64)
        return (self.content or "").encode()

    def question(self) -> dict[str, Any]:
        """The path; and the wanted digest, so that a file that matches is not sent back whole."""
        if self.secret or self.state == "absent":
            return {"path": self.path, "secret": True}
        return {"path": self.path, "secret": False, "sha256": hashlib.sha256(self.data()).hexdigest()}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By type, digest, mode, owner and group."""
        found = facts["type"]
        if found not in ("absent", "file"):
            return (refusal(facts, "file" if self.state == "present" else "absent"),)
        if self.state == "absent":
            return () if found == "absent" else (Change("state", "present", "absent"),)
        if found == "absent":
            return (Change("content", "absent", self._size(), self._diff("")),)
        changes: tuple[Change, ...] = ()
        if facts["sha256"] != hashlib.sha256(self.data()).hexdigest():
            changes = (self._content_change(facts),)
        return changes + attribute_changes(facts, {"mode": self.mode, "owner": self.owner, "group": self.group})

    def _content_change(self, facts: Facts) -> Change:
        if self.secret:
            return Change("content", diff="contents differ (secret)")
        text = facts.get("text")
        if text is None:
            return Change("content", diff="contents differ (not shown: large or not text)")
        return Change("content", diff=self._diff(text))

    def _diff(self, before: str) -> str:
        if self.secret:
            return "contents differ (secret)"
        try:
            return unified(self.path, before, self.data().decode())
        except UnicodeDecodeError:
            return "contents differ (not text)"

    def _size(self) -> str:
        return f"{len(self.data())} bytes, {self.mode} {self.owner}:{self.group}"

    def title(self) -> str:
        """The path."""
        return self.path

    def commands(self) -> tuple[str, ...]:
        """One install, or one rm."""
        path = shlex.quote(self.path)
        if self.state == "absent":
            return (f"rm -f {path}",)
        return (f"install -m {self.mode} -o {self.owner} -g {self.group} NEW_CONTENT {path}",)

    def touches(self) -> tuple[str, ...]:
        """The path."""
        return (self.path,)


SPEC = FileSpec
