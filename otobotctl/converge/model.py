"""What the engine takes and gives back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from otobotctl.agent.protocol import Holder, LastRun

Password = Callable[[], str]


class Listener(Protocol):
    """Hears what happens, for a progress display.

    Records of the host's journal (agent/protocol.py) come as they are; the engine's own have "event" one of: observed,
    planned (stage, steps: names), reattached (run, who), lost (message), rebooting. Every one has "host".
    """

    def event(self, record: Mapping[str, Any]) -> None:
        """One thing happened. Called from the thread that converges the host."""


class Quiet:
    """A listener that does nothing with what it hears."""

    def event(self, record: Mapping[str, Any]) -> None:
        """Ignore it."""


@dataclass(frozen=True)
class Answer:
    """The facts of one question, or why the host could not look."""

    facts: Mapping[str, Any] | None
    error: str | None = None


@dataclass(frozen=True)
class Observation:
    """Answers in the order of the questions. `boot_id` changes with every boot; `last` is the host's newest run."""

    answers: tuple[Answer, ...]
    boot_id: str
    holder: Holder | None
    last: LastRun | None


@dataclass(frozen=True)
class Patience:
    """How long, in seconds, a lost host is waited for while a run is under way there, and after a reboot."""

    reconnect_s: float = 180.0
    reboot_s: float = 600.0
    pause_s: float = 0.5  # before the first new try; doubles up to `longest_pause_s`
    longest_pause_s: float = 5.0


@dataclass(frozen=True)
class HostResult:
    """What converging a host took: remote executions, the steps applied, and each boot met on the way, in order.

    `notes` are what its stages say to the operator about the host as it is now.
    """

    host: str
    executions: int
    changed: tuple[str, ...]
    boot_ids: tuple[str, ...]
    reattached: bool = False
    notes: tuple[str, ...] = ()


def answer_of(record: Mapping[str, Any]) -> Answer:
    """The answer that a line of the wire or a record of a journal carries."""
    error = record.get("error")
    return Answer(None, error or "no answer") if error is not None else Answer(record["facts"])
