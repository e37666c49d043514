"""One symbolic link."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import AbsolutePath, State, refusal
from otobotctl.plan.model import Change, Facts, Spec


class SymlinkSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`path` is a link to `target`. A file in its place is replaced; a directory is refused."""

    kind: ClassVar[str] = "symlink"

    path: AbsolutePath
    target: Annotated[str, Meta(pattern=r"\A[^\x00-\x1f]+\Z")] | None = None
    state: State = "present"

    def __post_init__(self) -> None:
        if self.state == "present" and self.target is None:
            raise ValueError("a symlink needs a target")

    def question(self) -> dict[str, Any]:
        """The path."""
        return {"path": self.path}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By type and target."""
        found = facts["type"]
        if found == "absent":
            return () if self.state == "absent" else (Change("target", "absent", self.target or ""),)
        if self.state == "absent":
            return (Change("state", "present", "absent") if found == "symlink" else refusal(facts, "absent"),)
        if found == "symlink":
            before = str(facts.get("target", ""))
            return () if before == self.target else (Change("target", before, self.target or ""),)
        if found == "file":
            return (Change("type", "file", f"symlink to {self.target}"),)
        return (refusal(facts, "symlink"),)

    def title(self) -> str:
        """Both ends."""
        return self.path if self.target is None else f"{self.path} -> {self.target}"

    def commands(self) -> tuple[str, ...]:
        """One ln, or one rm."""
        if self.target is None or self.state == "absent":
            return (f"rm -f {shlex.quote(self.path)}",)
        return (f"ln -sfn {shlex.quote(self.target)} {shlex.quote(self.path)}",)

    def touches(self) -> tuple[str, ...]:
        """The path."""
        return (self.path,)


SPEC = SymlinkSpec
