"""A reboot, when something on the host asks for one."""

from __future__ import annotations

from typing import Any, ClassVar

from otobotctl.plan.fields import AbsolutePath
from otobotctl.plan.model import Change, Facts, Spec


class RebootSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The host reboots when `path` was made since it booted, or (`kernel`) when a newer kernel is installed."""

    kind: ClassVar[str] = "reboot"

    path: AbsolutePath | None = "/run/reboot-required"
    kernel: bool = True

    def __post_init__(self) -> None:
        if self.path is None and not self.kernel:
            raise ValueError("give a `path`, or `kernel: true`: this step would never reboot")

    def question(self) -> dict[str, Any]:
        """Where to look."""
        return self.wire()

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By whether a reboot is required."""
        if not facts["required"]:
            return ()
        return (Change("reboot", after=f"kernel {facts['kernel']}" if facts["kernel"] else f"because of {self.path}"),)

    def title(self) -> str:
        """When."""
        return "when required"

    def commands(self) -> tuple[str, ...]:
        """The host's own."""
        return ("systemctl reboot",)


SPEC = RebootSpec
