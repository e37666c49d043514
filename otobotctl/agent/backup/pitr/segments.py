"""Segments of PostgreSQL's write-ahead log by name, what of them a repository has, and what a moment needs. Pure.

A name is 24 hexadecimal digits: timeline, then the segment's number in two halves. A repository has snapshots of two
sorts: `/wal.tar`, segments as they came, and pairs of `/base.tar` and `/base.json`; the second makes it a base. All
that matters of them is in their tags. A series is a log without a break that anybody knows of; one that has a segment
missing after all is found out by the numbers, never passed over.
"""

from __future__ import annotations

import re
from typing import Any, Dict, Iterable, List, Mapping, NamedTuple, Optional, Sequence

TAG, BASE = "pitr", "base="
WAL_FILE, BASE_FILE, HEAD_FILE = "/wal.tar", "/base.tar", "/base.json"
SEGMENT = re.compile(r"[0-9A-F]{24}")
PARTIAL = ".partial"
SIZE = 16 << 20
_LOW = 0x100000000 // SIZE
_PAGE = 8192
_RECORD = 1 << 20  # no record of ours is longer


class Wal(NamedTuple):
    """A snapshot of the log: whole segments `first` to `last` ("" where it has none) and a `partial` one, or "".

    All that was committed until `covers` (Unix seconds) is in it or in those before it. `lsn` is how far the log had
    come then, "" where nobody asked.
    """

    snapshot: str
    series: str
    first: str
    last: str
    partial: str
    covers: float
    lsn: str = ""


class Piece(NamedTuple):
    """What goes into one snapshot of the log, as in Wal: `whole` segments, and the `partial` one or ""."""

    whole: Sequence[str]
    partial: str
    covers: float
    lsn: str

    def tags(self, series: str) -> List[str]:
        """What `wals` reads."""
        tags = [TAG, "series=" + series, "covers={:.3f}".format(self.covers)]
        tags += ["first=" + self.whole[0], "last=" + self.whole[-1]] if self.whole else []
        tags += ["partial=" + self.partial] if self.partial else []
        return [*tags, "lsn=" + self.lsn] if self.lsn else tags


class Base(NamedTuple):
    """A copy of the data directory: it needs the log from `first` on, and is good for moments after `ended`."""

    snapshot: str
    id: str
    series: str
    first: str
    made: float
    ended: float
    bytes: int
    head: str


class Chain(NamedTuple):
    """A base and the snapshots of the log that follow it without a gap, in order; moments from `since` to `until`.

    `gap` is the first segment that is missing after them although later ones are there, else "".
    """

    base: Base
    wal: Sequence[Wal]
    since: float
    until: float
    gap: str


def number(name: str) -> int:
    """The number of a segment in its timeline."""
    return int(name[8:16], 16) * _LOW + int(name[16:24], 16)


def following(name: str) -> str:
    """The name of the next segment of the same timeline."""
    high, low = divmod(number(name) + 1, _LOW)
    return "{}{:08X}{:08X}".format(name[:8], high, low)


def of_lsn(lsn: str, timeline: str) -> str:
    """The segment that a position such as 1/4F000028 is in. `timeline` is 8 hexadecimal digits."""
    high, _, low = lsn.partition("/")
    return "{}{:08X}{:08X}".format(timeline, int(high, 16), int(low, 16) // SIZE)


def position(lsn: str) -> int:
    """A position as a number of bytes."""
    high, _, low = lsn.partition("/")
    return (int(high, 16) << 32) + int(low, 16)


def next_after(last: str, partial: str) -> str:
    """The partial segment where it is the next one, or the first of all; "": more has become whole meanwhile."""
    return partial if not last or partial == following(last) else ""


def holds(newest: str, lsn: str) -> bool:
    """Whether a log whose newest segment is `newest`, "" for none, can have all before a position."""
    return bool(newest) and (number(newest) + 1) * SIZE >= position(lsn)


def wals(snapshots: Iterable[Mapping[str, Any]]) -> List[Wal]:
    """The log among `restic snapshots --json`; whatever does not say what it is is none."""
    found = []
    for each in snapshots:
        said = _said(each)
        if said is not None and list(each.get("paths") or ()) == [WAL_FILE]:
            covers = float(said.get("covers") or 0)
            names = (said.get("first", ""), said.get("last", ""), said.get("partial", ""))
            found.append(Wal(each["id"], said.get("series", ""), *names, covers, said.get("lsn", "")))
    return sorted(found, key=lambda each: (each.covers, each.last or each.partial))


def bases(snapshots: Iterable[Mapping[str, Any]]) -> List[Base]:
    """The bases that are whole, from old to new."""
    copies: Dict[str, str] = {}
    heads = []
    for each in snapshots:
        said, paths = _said(each), list(each.get("paths") or ())
        if said is None or not said.get("base"):
            continue
        if paths == [BASE_FILE]:
            copies[said["base"]] = each["id"]
        elif paths == [HEAD_FILE]:
            heads.append((said, each["id"]))
    found = [
        Base(
            copies[said["base"]], said["base"], said.get("series", ""), said.get("first", ""),
            float(said.get("made") or 0), float(said.get("ended") or 0), int(said.get("bytes") or 0), head,
        )
        for said, head in heads
        if said["base"] in copies
    ]  # fmt: skip
    return sorted(found, key=lambda base: base.ended)


def _said(snapshot: Mapping[str, Any]) -> Optional[Dict[str, str]]:
    tags = list(snapshot.get("tags") or ())
    return dict(tag.partition("=")[::2] for tag in tags) if TAG in tags else None


def chain(base: Base, log: Sequence[Wal], known: float = 0.0) -> Chain:
    """What follows a base without a gap. `known` is a moment until which the newest of it is known to hold all."""
    wanted, until, gap = base.first, 0.0, ""
    taken: List[Wal] = []
    mine = [each for each in log if each.series == base.series]
    for each in mine:
        if not each.last and each.partial < wanted:
            continue  # what has become whole since
        if each.last and each.last < wanted:
            continue
        begins = each.first or each.partial
        if begins > wanted:
            gap = wanted
            if each.last:
                break
            continue  # the beginning of a segment whose former one may have arrived after it
        gap = ""
        taken.append(each)
        wanted = following(each.last) if each.last else wanted
        until = max(until, each.covers)
    if taken and taken[-1] is mine[-1]:
        until = max(until, known)
    return Chain(base, _needed(taken), base.ended, until, gap)


def _needed(taken: Sequence[Wal]) -> List[Wal]:
    """Without those that had only the beginning of a segment which the next one has more of."""
    last = len(taken) - 1
    return [each for place, each in enumerate(taken) if each.last or place == last]


def until(found: Chain, moment: float) -> Chain:
    """As much of a chain as a moment within it needs."""
    place = next((place for place, each in enumerate(found.wal) if each.covers >= moment), len(found.wal) - 1)
    return found._replace(wal=_needed(found.wal[: place + 1]))


def reaches(found: Chain) -> int:
    """The position, in bytes, that replaying a chain has to come to at least: else a part of it was not replayed."""
    newest = found.wal[-1]
    told = position(newest.lsn) if newest.lsn else 0
    if told % _PAGE:
        return told
    # The log may have been written as far as the end of a page, in the midst of a record whose rest is not there.
    return max(told, number(newest.partial or newest.last) * SIZE) - _RECORD


def gone(snapshots: Sequence[Mapping[str, Any]], days: int, now: float) -> List[str]:
    """The snapshots that nobody needs: bases older than `days` but for the newest of them, and the log before those.

    Heads come first. What a base that stays needs stays; so does whatever is younger than two days and of no base.
    """
    found, log = bases(snapshots), wals(snapshots)
    since = now - days * 86400.0
    old = [base for base in found if base.ended <= since]
    kept = [base for base in found if base.ended > since] + old[-1:]
    heads = [base.head for base in old[:-1]]
    copies = {base.snapshot for base in kept}
    young = now - 2 * 86400.0
    loose = [
        each["id"]
        for each in snapshots
        if _said(each) is not None
        and list(each.get("paths") or ()) == [BASE_FILE]
        and each["id"] not in copies
        and (each["id"] in {base.snapshot for base in old[:-1]} or _at(each) < young)
    ]
    first: Dict[str, str] = {}
    for base in kept:
        first[base.series] = min(first.get(base.series, base.first), base.first)
    newest = {each.series: each for each in log}
    spare = []
    for each in log:
        needed = each.series in first and (each.last or each.partial) >= first[each.series]
        superseded = not each.last and newest[each.series] is not each
        unborn = each.series not in first and each.covers > young
        if superseded or not (needed or unborn):
            spare.append(each.snapshot)
    return [*heads, *loose, *spare]


def _at(snapshot: Mapping[str, Any]) -> float:
    from otobotctl.agent.backup.keeping import seconds

    return seconds(snapshot["time"])
