"""A new login proves the changes that could have locked the operator out."""

from __future__ import annotations

from typing import Any, ClassVar

from otobotctl.plan.model import Change, Facts, Spec


class LoginSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Nothing is on trial: a login that began after a change (`sshd_config`, `firewall`) has proved it.

    It belongs into a stage of its own, behind the stage that makes such changes.
    """

    kind: ClassVar[str] = "login"

    def question(self) -> dict[str, Any]:
        """All trials of the host."""
        return {}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By what waits for a login, and by what waited in vain."""
        waiting = tuple(Change(name, "on trial", "kept, after a new login") for name in facts["waiting"])
        restored = facts["restored"].items()
        return waiting + tuple(Change(name, f"taken back at {when}", "kept") for name, when in sorted(restored))

    def fresh_login(self) -> bool:
        """Always."""
        return True

    def title(self) -> str:
        """What it is for."""
        return "a new login proves what is on trial"

    def commands(self) -> tuple[str, ...]:
        """What it comes down to, done by hand."""
        return ("systemctl disable --now 'otobot-trial-*.timer'",)


SPEC = LoginSpec
