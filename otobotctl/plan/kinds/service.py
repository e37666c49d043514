"""One systemd unit: running or not, at boot or not, and restarted when a file it reads has changed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta, field

from otobotctl.plan.fields import AbsolutePath
from otobotctl.plan.model import Change, Facts, Spec

UnitName = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9:_.@\\-]{1,200}\Z")]
RUNNING = frozenset({"active", "reloading", "refreshing"})
STOPPED = frozenset({"inactive", "failed"})
AT_BOOT = frozenset({"enabled", "static", "indirect", "generated", "alias"})
SWITCHED_ON = frozenset({"enabled", "enabled-runtime"})


class ServiceSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The unit is `state`, and starts at boot or not (`enabled`; null: as it is).

    `watches`: files and directories it reads. It restarts (`reload`: reloads) when they are not what they were when a
    step last (re)started it; that is kept on the host, so a run that was killed in between changes nothing about it.
    """

    kind: ClassVar[str] = "service"

    name: UnitName
    state: Literal["started", "stopped"] = "started"
    enabled: bool | None = True
    watched: tuple[AbsolutePath, ...] = field(default=(), name="watches")
    reload: bool = False

    def question(self) -> dict[str, Any]:
        """The unit and the paths it reads."""
        return {"name": self.name, "watches": sorted(self.watched)}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By what systemd says, and by the digest of the watched files when it last started."""
        if facts["load"] == "not-found" and self.state == "stopped" and not self.enabled:
            return ()
        changes: list[Change] = []
        if facts["load"] not in ("loaded", "not-found") and self.state == "started":
            changes.append(Change("unit", facts["load"], "loaded"))
        changes += self._enabling(facts["enabled"])
        active = facts["_active"]
        if self.state == "stopped":
            if active not in STOPPED:
                changes.append(Change("state", active, "stopped"))
        elif active not in RUNNING:
            changes.append(Change("state", active, "started"))
        elif self.watched and facts["watched"] != facts["stamp"]:
            changes.append(Change("reload" if self.reload else "restart", after="what it reads has changed"))
        return tuple(changes)

    def _enabling(self, found: str) -> tuple[Change, ...]:
        if self.enabled is True and found not in AT_BOOT:
            return (Change("enabled", found or "no", "enabled"),)
        if self.enabled is False and found in SWITCHED_ON:
            return (Change("enabled", found, "disabled"),)
        return ()

    def wire(self) -> dict[str, Any]:
        """The question and what is wanted."""
        return {**self.question(), "state": self.state, "enabled": self.enabled, "reload": self.reload}

    def title(self) -> str:
        """The unit and its state."""
        return f"{self.name} {self.state}"

    def commands(self) -> tuple[str, ...]:
        """systemctl, as by hand."""
        enabling = () if self.enabled is None else (f"systemctl {'enable' if self.enabled else 'disable'} {self.name}",)
        if self.state == "stopped":
            return (f"systemctl stop {self.name}", *enabling)
        again = (f"systemctl {'reload' if self.reload else 'restart'} {self.name}",) if self.watched else ()
        return (*enabling, f"systemctl start {self.name}", *again)

    def watches(self) -> tuple[str, ...]:
        """What it reads."""
        return self.watched


SPEC = ServiceSpec
