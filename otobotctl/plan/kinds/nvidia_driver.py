"""NVIDIA's driver, as Ubuntu signs it."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.model import Change, Facts, Spec


class NvidiaDriverSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A driver runs that language models can use; `branch`, such as 580-server, pins it, or else the host decides.

    Which one is the agent's decision (agent/drivers.py), because only the host knows its card, kernel and Secure Boot;
    the plan tells it. A driver that was installed runs after a reboot, which a later `reboot` step makes.
    """

    kind: ClassVar[str] = "nvidia_driver"

    branch: Annotated[str, Meta(pattern=r"^(\d{3}(-server)?(-open)?)?$")] = ""

    def question(self) -> dict[str, Any]:
        """What is pinned."""
        return self.wire()

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By what runs. One that only waits for its reboot is settled: the reboot is another step's."""
        before = facts["running"] or "none"
        if facts["refused"]:
            return (Change("driver", before, "another", refused=facts["refused"]),)
        if not facts["branch"] or (facts["installed"] and facts["reboot"]):
            return ()
        if facts["installed"]:
            return (Change("driver", "installed, not running", f"{facts['branch']} after a reboot"),)
        return (Change("driver", before, f"{facts['branch']} by {facts['modules'] or 'its own modules'}"),)

    def title(self) -> str:
        """Which."""
        return self.branch or "the newest that Ubuntu signs for this card"

    def commands(self) -> tuple[str, ...]:
        """Ubuntu's own."""
        branch = f" nvidia:{self.branch}" if self.branch else ""
        return ("ubuntu-drivers list --gpgpu", f"ubuntu-drivers install --gpgpu{branch}", "systemctl reboot")


SPEC = NvidiaDriverSpec
