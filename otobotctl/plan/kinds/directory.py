"""One directory: its mode, owner and group."""

from __future__ import annotations

import shlex
from typing import Any, ClassVar

from otobotctl.plan.fields import AbsolutePath, Account, Mode, State, attribute_changes, refusal
from otobotctl.plan.model import Change, Facts, Spec


class DirectorySpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The directory `path` is there (missing parents are made 0755), or is not: only an empty one is removed."""

    kind: ClassVar[str] = "directory"

    path: AbsolutePath
    owner: Account = "root"
    group: Account = "root"
    mode: Mode = "0755"
    state: State = "present"

    def question(self) -> dict[str, Any]:
        """The path."""
        return {"path": self.path}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By type, mode, owner and group."""
        found = facts["type"]
        if found not in ("absent", "directory"):
            return (refusal(facts, "directory" if self.state == "present" else "absent"),)
        if self.state == "absent":
            return () if found == "absent" else (Change("state", "present", "absent"),)
        if found == "absent":
            return (Change("state", "absent", f"{self.mode} {self.owner}:{self.group}"),)
        return attribute_changes(facts, {"mode": self.mode, "owner": self.owner, "group": self.group})

    def title(self) -> str:
        """The path."""
        return self.path

    def commands(self) -> tuple[str, ...]:
        """One install, or one rmdir."""
        path = shlex.quote(self.path)
        if self.state == "absent":
            return (f"rmdir {path}",)
        return (f"install -d -m {self.mode} -o {self.owner} -g {self.group} {path}",)

    def touches(self) -> tuple[str, ...]:
        """The path."""
        return (self.path,)


SPEC = DirectorySpec
