"""sshd's settings, in a drop-in, with a way back if they lock the operator out."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import unified
from otobotctl.plan.model import Change, Facts, Spec


class SshdConfigSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The drop-in /etc/ssh/sshd_config.d/<name>.conf has this content, and sshd has taken it.

    What sshd refuses is not installed. What it takes is on trial: the host itself goes back to the file before in
    `trial_s` seconds, also across a reboot, unless a `login` step of a later stage comes in by a new login. A host
    without sshd has nothing to set.
    """

    kind: ClassVar[str] = "sshd_config"

    name: Annotated[str, Meta(pattern=r"\A[0-9a-z][0-9a-z-]{0,40}\Z")] = "10-otobot"
    content: str
    trial_s: Annotated[int, Meta(ge=5, le=3600)] = 120

    @property
    def path(self) -> str:
        """The drop-in."""
        return f"/etc/ssh/sshd_config.d/{self.name}.conf"

    def question(self) -> dict[str, Any]:
        """The drop-in; there is one sshd."""
        return {"path": self.path}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the file's text, and whether sshd runs with it; a trial that was lost is told."""
        if not facts["installed"]:
            return ()
        changes: list[Change] = []
        if facts["restored"]:
            changes.append(Change("trial", f"taken back at {facts['restored']}: no new login came", "tried again"))
        if facts["content"] != self.content:
            before = facts["content"]
            what = "absent" if before is None else "differs"
            changes.append(Change("file", before=what, diff=unified(self.path, before or "", self.content)))
        elif facts["armed"] and not facts["loaded"]:
            changes.append(Change("sshd", "has not read the file", "restarted"))
        return tuple(changes)

    def wire(self) -> dict[str, Any]:
        """The file and how long it is on trial."""
        return {**self.question(), "content": self.content, "trial_s": self.trial_s}

    def title(self) -> str:
        """The drop-in."""
        return self.path

    def commands(self) -> tuple[str, ...]:
        """Install, check, take."""
        return (f"install -m 0644 NEW_CONTENT {self.path}", "sshd -t", "systemctl restart ssh")

    def touches(self) -> tuple[str, ...]:
        """The drop-in."""
        return (self.path,)


SPEC = SshdConfigSpec
