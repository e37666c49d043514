"""One act of an incident: begun, then done or failed. Killed in between, it stays begun, and its report says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl.errors import InterruptedRunError, OtobotError, UsageError
from otobotctl.incidents.ledger import Ledger, open_new
from otobotctl.incidents.summary import summary

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet


@dataclass
class Act:
    """What an act that is under way will write down: `details`, and what then remains for a person."""

    details: dict[str, Any] = field(default_factory=dict)
    remaining: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Acted:
    """An act as it is shown: which incident it belongs to, what it did, and what remains, the notice included."""

    incident: str
    action: str
    subject: str
    details: Mapping[str, Any]
    remaining: tuple[str, ...]


def ledger_for(fleet: Fleet, incident: str | None, title: str) -> Ledger:
    """The incident that was named, or a new one. Raises UsageError: there is none of that name, or it is closed."""
    if incident is None:
        return open_new(fleet, title)
    ledger = Ledger(fleet, incident)
    records = ledger.read().records
    if records and records[-1].event == "closed":
        raise UsageError(f"incident {incident} is closed", hint="leave out --incident: a new one is opened then")
    return ledger


@contextmanager
def acting(ledger: Ledger, action: str, subject: str, **details: Any) -> Iterator[Act]:
    """Write down that an act begins, and how it ended. Raises whatever the act does."""
    begun = ledger.add("begun", action, subject, **details)
    act = Act()
    try:
        yield act
    except InterruptedRunError:
        raise  # a host finishes what it had begun: nobody knows here how it ends
    except OtobotError as error:
        ledger.add("failed", action, subject, of=begun.number, error=error.message, **act.details)
        raise
    ledger.add("done", action, subject, of=begun.number, **act.details, remaining=act.remaining)


def acted(ledger: Ledger, action: str, subject: str, act: Act) -> Acted:
    """The act that was done, with what now remains of the whole incident's duty to tell."""
    notice = summary(ledger.name, ledger.read(), datetime.now(UTC)).notice.duty
    return Acted(ledger.name, action, subject, act.details, (*act.remaining, *([notice] if notice else [])))
