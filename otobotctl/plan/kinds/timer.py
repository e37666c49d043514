"""A program run at set times by systemd."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import Account, State, unified
from otobotctl.plan.model import Change, Facts, Spec

FOLDER = "/etc/systemd/system"
OneLine = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f]+\Z")]
Word = Annotated[str, Meta(pattern=r"\A[^\x00-\x1f]*\Z")]


class TimerSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`argv` (no shell, nothing secret) runs as `user` at `on_calendar` (systemd.time(7)).

    `persistent`: a run missed while the host was off is made up for at its next start. Absent takes both units away.
    """

    kind: ClassVar[str] = "timer"

    name: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9_.-]{1,100}\Z")]
    on_calendar: OneLine | None = None
    argv: tuple[Word, ...] = ()
    user: Account = "root"
    description: OneLine | None = None
    persistent: bool = True
    randomized_delay_s: Annotated[int, Meta(ge=0, le=86400)] = 0
    state: State = "present"

    def __post_init__(self) -> None:
        if self.state == "absent":
            if self.on_calendar or self.argv:
                raise ValueError("what is absent has no on_calendar and no argv")
            return
        if not self.on_calendar or not self.argv:
            raise ValueError("give on_calendar and argv")
        if not self.argv[0].startswith("/"):
            raise ValueError("argv must start with the program's absolute path")

    def paths(self) -> tuple[str, str]:
        """Where both units are: the service, the timer."""
        return (f"{FOLDER}/{self.name}.service", f"{FOLDER}/{self.name}.timer")

    def units(self) -> dict[str, str]:
        """The text of both units, by path."""
        description = _escaped(self.description or f"otobot: {self.name}")
        service = (
            f"[Unit]\nDescription={description}\n\n"
            f"[Service]\nType=oneshot\nUser={self.user}\nExecStart={' '.join(_quoted(word) for word in self.argv)}\n"
        )
        timer = (
            f"[Unit]\nDescription={description}\n\n"
            f"[Timer]\nOnCalendar={self.on_calendar}\nPersistent={'true' if self.persistent else 'false'}\n"
            f"RandomizedDelaySec={self.randomized_delay_s}\n\n"
            "[Install]\nWantedBy=timers.target\n"
        )
        return dict(zip(self.paths(), (service, timer), strict=True))

    def question(self) -> dict[str, Any]:
        """The units."""
        asked = {"name": self.name, "paths": list(self.paths())}
        return {**asked, "state": "absent"} if self.state == "absent" else asked

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the units' texts, and by whether the timer is switched on."""
        if self.state == "absent":
            return tuple(Change(path, "present", "absent") for path in facts["present"])
        changes: list[Change] = []
        for path, text in self.units().items():
            before = facts["units"].get(path)
            if before != text:
                changes.append(
                    Change(path, "absent" if before is None else "differs", diff=unified(path, before or "", text))
                )
        if facts["stale"] and not changes:
            changes.append(Change("units", "read by systemd before they changed", "read again"))
        if facts["enabled"] != "enabled":
            changes.append(Change("enabled", facts["enabled"] or "no", "enabled"))
        if facts["_active"] != "active":
            changes.append(Change("state", facts["_active"], "active"))
        return tuple(changes)

    def wire(self) -> dict[str, Any]:
        """The question, the texts, and the time for systemd to check before anything is written."""
        if self.state == "absent":
            return self.question()
        return {**self.question(), "units": self.units(), "on_calendar": self.on_calendar}

    def title(self) -> str:
        """The timer and its time."""
        return f"{self.name}.timer {self.on_calendar or 'absent'}"

    def commands(self) -> tuple[str, ...]:
        """Write, read again, switch on; or all of that back."""
        if self.state == "absent":
            removal = f"rm -f {' '.join(self.paths())}"
            return (f"systemctl disable --now {self.name}.timer", removal, "systemctl daemon-reload")
        writes = tuple(f"install -m 0644 NEW_CONTENT {path}" for path in self.paths())
        return (*writes, "systemctl daemon-reload", f"systemctl enable --now {self.name}.timer")

    def touches(self) -> tuple[str, ...]:
        """Both units."""
        return self.paths()


def _escaped(text: str) -> str:
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word of ExecStart: systemd reads quotes, backslashes, %x and $x in it."""
    text = _escaped(word).replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    plain = text and not set(text) & set(" '\";\\")
    return text if plain else f'"{text}"'


SPEC = TimerSpec
