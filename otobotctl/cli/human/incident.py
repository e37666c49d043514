"""Incidents in words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from otobotctl.cli import output

if TYPE_CHECKING:
    from otobotctl.workflows.incidents.acting import Acted
    from otobotctl.workflows.incidents.reporting import Entry, Row, Summary

_QUIET = frozenset({"of", "remaining", "settled", "told", "aware"})


def acted(done: Acted) -> str:
    """What was done, and what remains."""
    lines = [f"{done.action}: {done.subject} (incident {done.incident})", *details(done.details)]
    if done.remaining:
        lines += ["what remains for you:", *(f"  - {text}" for text in done.remaining)]
    return "\n".join(lines)


def listed(rows: Iterable[Row]) -> str:
    """A table."""
    head = ("INCIDENT", "STATE", "OPENED", "NOTICE", "REMAINS", "TITLE")
    return output.table(head, [_row(each) for each in rows])


def _row(each: Row) -> tuple[str, ...]:
    notice = f"{each.notice}, {each.deadline}"
    return each.id, each.state, each.opened, notice, str(each.remaining), each.title


def report(found: Summary) -> str:
    """The whole story, for whoever was not there; and for the authority what it wants to know."""
    parts = [f"Incident {found.id}: {found.title}\n{found.state}, opened {found.opened}"]
    parts.append("\n".join(("What was done:", *(line for entry in found.story for line in _entry(entry)))))
    if found.interrupted:
        text = "\n".join(f"  - {each}: run it again; it is safe to" for each in found.interrupted)
        parts.append(f"Begun, and nobody knows how it ended:\n{text}")
    if found.remaining:
        numbered = "\n".join(f"  {number}. {text}" for number, text in enumerate(found.remaining, 1))
        parts.append(f"What remains for people (incident note {found.id} --settles NUMBER):\n{numbered}")
    parts.append("\n".join(_notice(found)))
    chain = f"line {found.broken} is NOT as it was written" if found.broken else "every line is as it was written"
    parts.append(f"Records: incidents/{found.id}.jsonl; {chain}")
    return "\n\n".join(parts)


def _entry(entry: Entry) -> Iterator[str]:
    outcome = "" if entry.outcome in {"opened", "noted", "closed"} else f": {entry.outcome}"
    yield f"  {entry.at}  {entry.who}  {entry.what}{outcome}"
    yield from (f"      {line.strip()}" for line in details(entry.details))


def _notice(found: Summary) -> Iterator[str]:
    notice = found.notice
    yield f"Notice to the data protection authority (GDPR, article 33): {notice.state}"
    yield f"  known of since {notice.aware}; 72 hours end {notice.deadline}"
    if notice.duty:
        yield f"  {notice.duty}"
    yield from (f"  {key}: {value}" for key, value in notice.known.items())
    if notice.unknown:
        yield f"  not known yet (incident note {found.id} --WORD TEXT):"
        yield from (f"    {key}: {words}" for key, words in notice.unknown.items())
    if notice.measures:
        yield "  measures taken:"
        yield from (f"    {each}" for each in notice.measures)


def details(found: Mapping[str, Any]) -> Iterator[str]:
    """What an act left behind, a line each."""
    for key, value in found.items():
        if key in _QUIET or value in (None, "", [], {}):
            continue
        if isinstance(value, dict):
            yield f"  {key}:"
            yield from (f"    {name}: {inner}" for name, inner in value.items())
        else:
            yield f"  {key}: {', '.join(map(str, value)) if isinstance(value, list | tuple) else value}"
