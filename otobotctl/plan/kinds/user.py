"""One user of the host."""

from __future__ import annotations

import shlex
from typing import Any, ClassVar

from otobotctl.plan.fields import AbsolutePath, Name, State
from otobotctl.plan.model import Change, Facts, Spec


class UserSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The user exists and is at least in these groups; other groups are kept.

    A new user has no password to log in with. `password_locked` also locks the one an existing user has: not for
    an account whose sudo asks for it. `shell` and `home` are left alone when not given. Homes are never deleted or
    moved. `system` matters only when the user is made: no home, no shell.
    """

    kind: ClassVar[str] = "user"

    name: Name
    groups: tuple[Name, ...] = ()
    shell: AbsolutePath | None = None
    home: AbsolutePath | None = None
    system: bool = False
    password_locked: bool = False
    state: State = "present"

    def __post_init__(self) -> None:
        if self.state == "absent" and self.name == "root":
            raise ValueError("root stays")

    def question(self) -> dict[str, Any]:
        """The name."""
        return {"name": self.name}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By existence, missing groups, shell, home and password."""
        if self.state == "absent":
            return (Change("state", "present", "absent (the home stays)"),) if facts["exists"] else ()
        if not facts["exists"]:
            return (Change("state", "absent", "present"),)
        changes = []
        missing = [group for group in self.groups if group not in facts["groups"]]
        if missing:
            changes.append(Change("groups", ", ".join(facts["groups"]), f"also {', '.join(missing)}"))
        if self.shell is not None and facts["shell"] != self.shell:
            changes.append(Change("shell", facts["shell"], self.shell))
        if self.home is not None and facts["home"] != self.home:
            changes.append(Change("home", facts["home"], f"{self.home} (nothing is moved)"))
        if self.password_locked and facts["locked"] is False:
            changes.append(Change("password", "usable", "locked"))
        return tuple(changes)

    def title(self) -> str:
        """The name."""
        return self.name

    def commands(self) -> tuple[str, ...]:
        """One useradd (usermod where the user exists), or userdel."""
        if self.state == "absent":
            return (f"userdel {self.name}",)
        words = ["useradd", "--system --no-create-home" if self.system else "--create-home"]
        words += [f"--shell {shlex.quote(self.shell)}"] if self.shell else []
        words += [f"--home-dir {shlex.quote(self.home)}"] if self.home else []
        words += [f"--groups {','.join(self.groups)}"] if self.groups else []
        lock = (f"usermod --lock {self.name}",) if self.password_locked else ()
        return (" ".join([*words, self.name]), *lock)


SPEC = UserSpec
