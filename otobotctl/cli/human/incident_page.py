"""An incident as one HTML page, for the client, the data protection officer and the authority. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING

from otobotctl.cli.human import frame
from otobotctl.cli.human.incident import details

if TYPE_CHECKING:
    from otobotctl.workflows.incidents.reporting import Entry, Summary

_KINDS = {"done": "well", "failed": "failed", "interrupted": "attention", "late": "failed", "open": "attention"}


def page(found: Summary, at: str) -> str:
    """Return the page, whole; `at` is now. What people wrote is text in it and never HTML."""
    said = f"{found.state}, opened {found.opened}; told {at}"
    return frame.whole(f"Incident {found.id}: {found.title}", said, _parts(found))


def _parts(found: Summary) -> Iterator[str]:
    if found.broken:
        word = frame.state("changed", "failed")
        yield f"<p>{word} line {found.broken} of its records is not as it was written: nothing from there on counts</p>"
    yield "<h2>What was done</h2>"
    yield frame.table(("When", "Who", "What", ""), (_entry(each) for each in found.story))
    if found.interrupted:
        yield "<h2>Begun, and nobody knows how it ended</h2>"
        yield _list("ul", found.interrupted)
    if found.remaining:
        yield "<h2>What remains for people</h2>"
        yield _list("ol", found.remaining)
    yield from _notice(found)
    chain = f"line {found.broken} is not as it was written" if found.broken else "every line is as it was written"
    yield f"<h2>Records</h2>\n<p>incidents/{escape(found.id)}.jsonl, {len(found.story)} entries; {chain}.</p>"


def _entry(entry: Entry) -> tuple[str, ...]:
    more = "".join(f"<small>{escape(line.strip())}</small>" for line in details(entry.details))
    outcome = frame.state(entry.outcome, _KINDS[entry.outcome]) if entry.outcome in _KINDS else ""
    return escape(entry.at), escape(entry.who), f"{escape(entry.what)}{more}", outcome


def _notice(found: Summary) -> Iterator[str]:
    notice = found.notice
    word = frame.state(notice.state, _KINDS.get(notice.state, "well"))
    yield f"<h2>Notice to the data protection authority (GDPR, article 33) {word}</h2>"
    yield f"<p>Known of since {escape(notice.aware)}; 72 hours end {escape(notice.deadline)}.</p>"
    if notice.duty:
        yield f"<p><b>{escape(notice.duty)}</b></p>"
    yield from _told("What it tells", notice.known)
    yield from _told("Not known yet", notice.unknown)
    if notice.measures:
        yield "<h2>Measures taken</h2>"
        yield _list("ul", notice.measures)


def _told(head: str, said: Mapping[str, str]) -> Iterator[str]:
    if said:
        yield frame.table((head, ""), ((escape(key), escape(words)) for key, words in said.items()))


def _list(kind: str, lines: tuple[str, ...]) -> str:
    return f"<{kind}>\n" + "\n".join(f"<li>{escape(line)}</li>" for line in lines) + f"\n</{kind}>"
