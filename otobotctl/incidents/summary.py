"""What an incident comes to: what was done, what remains for a person, and when the authority must know of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from otobotctl.incidents.record import Chain, Record, unended

NOTICE: Final = timedelta(hours=72)  # GDPR, article 33
# What article 33(3) wants told; by the word that `incident note` takes.
TOLD: Final[Mapping[str, str]] = {
    "nature": "what happened, and what kind of data it concerns",
    "people": "how many people, about, and who they are to the client",
    "records": "how many records, about",
    "contact": "whom the authority can ask (the data protection officer)",
    "consequences": "what is likely to come of it for those people",
}
_AUTHORITY: Final = "https://notifications.cnil.fr/notifications/index"


@dataclass(frozen=True)
class Entry:
    """One thing in an incident's story."""

    number: int
    at: str
    who: str
    what: str
    outcome: str
    details: Mapping[str, Any]


@dataclass(frozen=True)
class Notice:
    """The notice to the data protection authority. `state`: open, late, sent or not needed; hours_left may be negative.

    `duty` is what is to be done about it now, "" for nothing; `known` and `unknown` are what it must tell; `measures`
    are taken from what was done.
    """

    state: str
    aware: str
    deadline: str
    hours_left: float
    duty: str
    known: Mapping[str, str]
    unknown: Mapping[str, str]
    measures: tuple[str, ...]


@dataclass(frozen=True)
class Summary:
    """An incident. `state`: open or closed; `broken`: the first changed line of its file, 0 where there is none."""

    id: str
    title: str
    state: str
    opened: str
    story: tuple[Entry, ...]
    remaining: tuple[str, ...]
    interrupted: tuple[str, ...]
    notice: Notice
    broken: int


def summary(name: str, chain: Chain, now: datetime) -> Summary:
    """Sum up. `chain` has at least its first record, or is broken."""
    records = chain.records
    first = records[0] if records else None
    return Summary(
        id=name,
        title=first.subject if first else "",
        state="closed" if records and records[-1].event == "closed" else "open",
        opened=first.at if first else "",
        story=tuple(_story(records)),
        remaining=tuple(_remaining(records)),
        interrupted=tuple(f"{each.action} {each.subject}" for each in unended(records)),
        notice=_notice(records, now),
        broken=chain.broken,
    )


def _story(records: Sequence[Record]) -> Iterator[Entry]:
    ends = {record.details.get("of"): record for record in records if record.event in {"done", "failed"}}
    for record in records:
        if record.event in {"done", "failed"}:
            continue
        what = record.subject if record.event in {"opened", "noted", "closed"} else f"{record.action} {record.subject}"
        end = ends.get(record.number)
        outcome = (end.event if end else "interrupted") if record.event == "begun" else record.event
        yield Entry(record.number, record.at, record.who, what, outcome, (end or record).details)


def _remaining(records: Sequence[Record]) -> Iterator[str]:
    """What only a person can do, unless somebody noted that it is done."""
    settled = {text for record in records for text in record.details.get("settled", ())}
    wanted = dict.fromkeys(text for record in records for text in record.details.get("remaining", ()))
    yield from (text for text in wanted if text not in settled)


def _notice(records: Sequence[Record], now: datetime) -> Notice:
    said: dict[str, str] = {}
    for record in records:
        said.update({key: str(value) for key, value in record.details.get("told", {}).items()})
    aware = _moment(next((record.details.get("aware") for record in records if "aware" in record.details), None), now)
    deadline = aware + NOTICE
    left = round((deadline - now).total_seconds() / 3600, 1)
    state = said.get("notice") or ("late" if left < 0 else "open")
    measures = tuple(f"{each.at}: {each.what}" for each in _story(records) if each.outcome == "done")
    return Notice(
        state=state,
        aware=aware.isoformat(timespec="seconds"),
        deadline=deadline.isoformat(timespec="seconds"),
        hours_left=left,
        duty=_duty(state, deadline.isoformat(timespec="seconds"), left),
        known={key: said[key] for key in TOLD if key in said},
        unknown={key: words for key, words in TOLD.items() if key not in said},
        measures=measures,
    )


def _duty(state: str, deadline: str, left: float) -> str:
    if state in {"sent", "not needed"}:
        return ""
    when = f"by {deadline} ({left:g} hours left)"
    if left < 0:
        when = f"at once: {deadline} was {-left:g} hours ago, and the delay must be explained"
    return f"decide whether personal data is concerned; if so, notify the authority {when}: {_AUTHORITY}"


def _moment(text: object, otherwise: datetime) -> datetime:
    try:
        return datetime.fromisoformat(str(text)).astimezone(UTC)
    except ValueError:
        return otherwise
