"""One group of the host."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import Name, State
from otobotctl.plan.model import Change, Facts, Spec


class GroupSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The group exists, with this number if one is given. `system` matters only when it is made."""

    kind: ClassVar[str] = "group"

    name: Name
    gid: Annotated[int, Meta(ge=1, le=60000)] | None = None
    system: bool = False
    state: State = "present"

    def question(self) -> dict[str, Any]:
        """The name."""
        return {"name": self.name}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By existence and number."""
        if self.state == "absent":
            return (Change("state", "present", "absent"),) if facts["exists"] else ()
        if not facts["exists"]:
            return (Change("state", "absent", "present"),)
        if self.gid is not None and facts["gid"] != self.gid:
            return (Change("gid", str(facts["gid"]), str(self.gid)),)
        return ()

    def title(self) -> str:
        """The name."""
        return self.name

    def commands(self) -> tuple[str, ...]:
        """One groupadd (groupmod where the group exists), or groupdel."""
        if self.state == "absent":
            return (f"groupdel {self.name}",)
        system = " --system" if self.system else ""
        number = "" if self.gid is None else f" --gid {self.gid}"
        return (f"groupadd{system}{number} {self.name}",)


SPEC = GroupSpec
