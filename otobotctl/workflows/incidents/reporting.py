"""Incidents opened, noted, closed, listed and told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from otobotctl.errors import DriftError, OtobotError, UsageError
from otobotctl.incidents.ledger import Ledger, every, open_new
from otobotctl.incidents.summary import TOLD, Entry, Summary, summary

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet

__all__ = ["Entry", "Opened", "Row", "Summary", "closed", "listed", "note", "opened", "report"]

_NOTICES = ("sent", "not needed")


@dataclass(frozen=True)
class Row:
    """An incident in a list."""

    id: str
    state: str
    title: str
    opened: str
    notice: str
    deadline: str
    remaining: int


@dataclass(frozen=True)
class Opened:
    """An incident that begins."""

    incident: str
    title: str
    deadline: str


def opened(fleet: Fleet, title: str, aware: str | None) -> Opened:
    """Open an incident; `aware`: when it came to be known of, ISO 8601."""
    if not title.strip():
        raise UsageError("an incident needs a title", hint="say in a few words what was seen")
    ledger = open_new(fleet, title, _moment(aware) if aware else None)
    return Opened(ledger.name, title, report(fleet, ledger.name)[0].notice.deadline)


def note(
    fleet: Fleet,
    incident: str,
    text: str,
    *,
    told: Mapping[str, str | None],
    settled: tuple[int, ...],
    notice: str | None,
) -> Summary:
    """Write down what a person found out or did. `settled` are numbers of what remained; `notice`: sent, not needed."""
    ledger = Ledger(fleet, incident)
    before = summary(incident, ledger.read(), datetime.now(UTC))
    wrong = [number for number in settled if not 1 <= number <= len(before.remaining)]
    if wrong:
        hint = f"otobotctl incident report {incident} numbers what remains"
        raise UsageError(f"nothing that remains has the number {wrong[0]}", hint=hint)
    if notice is not None and notice not in _NOTICES:
        raise UsageError(f"{notice} is no state of the notice", hint=f"one of: {', '.join(_NOTICES)}")
    said = {key: value for key, value in told.items() if value is not None and key in TOLD}
    if notice is not None:
        said["notice"] = notice
    done = [before.remaining[number - 1] for number in settled]
    if not (text.strip() or said or done):
        raise UsageError("there is nothing to write down", hint='otobotctl incident note ID "what you found out"')
    ledger.add("noted", "note", text or "noted", told=said, settled=done)
    return report(fleet, incident)[0]


def closed(fleet: Fleet, incident: str, text: str) -> Summary:
    """Close an incident. Raises UsageError while something remains, or nobody has decided about the notice."""
    ledger = Ledger(fleet, incident)
    found = summary(incident, ledger.read(), datetime.now(UTC))
    if found.state == "closed":
        return found
    left = [*found.remaining, *(["the notice to the authority"] if found.notice.state not in _NOTICES else [])]
    if left:
        raise UsageError(
            f"{len(left)} thing{'s' if len(left) > 1 else ''} of incident {incident} remain",
            hint=f"otobotctl incident note {incident} --settles NUMBER, or --notice sent",
            details=left,
        )
    ledger.add("closed", "close", text or "closed")
    return report(fleet, incident)[0]


def report(fleet: Fleet, incident: str | None) -> tuple[Summary, OtobotError | None]:
    """An incident (default: the newest); also a DriftError where its file is not as it was written."""
    ledgers = (Ledger(fleet, incident),) if incident else every(fleet)[:1]
    if not ledgers:
        raise UsageError("this fleet has no incident", hint='otobotctl incident open "what was seen"')
    found = summary(ledgers[0].name, ledgers[0].read(), datetime.now(UTC))
    if not found.broken:
        return found, None
    path = f"incidents/{found.id}.jsonl"
    hint = f"git log -p {path} shows what it was"
    return found, DriftError(f"line {found.broken} of {path} is not as it was written", hint=hint)


def listed(fleet: Fleet) -> tuple[Row, ...]:
    """Every incident, the newest first."""
    found = (summary(ledger.name, ledger.read(), datetime.now(UTC)) for ledger in every(fleet))
    return tuple(
        Row(each.id, each.state, each.title, each.opened, each.notice.state, each.notice.deadline, len(each.remaining))
        for each in found
    )


def _moment(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text} is no moment", hint="such as 2026-11-21T09:30 or 2026-11-21T09:30+01:00") from None
    if found.astimezone(UTC) > datetime.now(UTC):
        raise UsageError(f"{text} is yet to come", hint="say when it came to be known of")
    return found
