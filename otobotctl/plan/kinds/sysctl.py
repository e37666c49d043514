"""Kernel settings."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import unified
from otobotctl.plan.model import Change, Facts, Spec

Key = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_-]+(?:[./][A-Za-z0-9_:@-]+)+\Z")]
Value = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f]*\Z")]


class SysctlSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The drop-in /etc/sysctl.d/60-otobot-<name>.conf holds these settings, and the kernel has them now.

    `optional`: a key that this host's kernel does not have, or that a container may not write, is reported, not failed.
    """

    kind: ClassVar[str] = "sysctl"

    name: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,40}\Z")]
    settings: Annotated[Mapping[Key, int | Value], Meta(min_length=1)]
    optional: bool = False

    @property
    def path(self) -> str:
        """The drop-in."""
        return f"/etc/sysctl.d/60-otobot-{self.name}.conf"

    def values(self) -> dict[str, str]:
        """The settings as the kernel prints them: single blanks; in the order of their names."""
        return {key: " ".join(str(self.settings[key]).split()) for key in sorted(self.settings)}

    def content(self) -> str:
        """The drop-in's text."""
        return "".join(f"{key} = {value}\n" for key, value in self.values().items())

    def question(self) -> dict[str, Any]:
        """The file and the keys."""
        return {"path": self.path, "keys": list(self.values())}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the file's text and by each live value."""
        changes: list[Change] = []
        if facts["content"] != self.content():
            before = facts["content"]
            what = "absent" if before is None else "differs"
            changes.append(Change("file", before=what, diff=unified(self.path, before or "", self.content())))
        for key, value in self.values().items():
            live = facts["live"].get(key)
            if live != value and not (self.optional and key in facts["fixed"]):
                changes.append(Change(key, "unknown to the kernel" if live is None else live, value))
        return tuple(changes)

    def wire(self) -> dict[str, Any]:
        """The question, the file's text and the values to look for after."""
        return {**self.question(), "content": self.content(), "settings": self.values(), "optional": self.optional}

    def title(self) -> str:
        """The name of the drop-in."""
        return f"60-otobot-{self.name}.conf"

    def commands(self) -> tuple[str, ...]:
        """Write, load."""
        return (f"printf %s {shlex.quote(self.content())} > {self.path}", f"sysctl -p {self.path}")

    def touches(self) -> tuple[str, ...]:
        """The drop-in."""
        return (self.path,)


SPEC = SysctlSpec
