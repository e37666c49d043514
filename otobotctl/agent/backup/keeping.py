"""Which archives stay in a repository. Pure: the host's own prune and the operator's decide by the same words.

An archive stays or goes as a whole. What goes is told in two steps, because a prune may be killed between any two
snapshots: first the snapshots that make it an archive (archive.json), then its parts, which from then on are parts of
no archive, and which the next prune takes away.
"""

from __future__ import annotations

import calendar
import time
from typing import Any, Callable, Dict, Iterable, List, Mapping, NamedTuple, Sequence

from otobotctl.agent.backup.shapes import ARCHIVE_FILE

__all__ = ["TAG", "YOUNG_S", "Group", "Verdict", "counted", "groups", "seconds", "within"]

TAG = "archive="
YOUNG_S = 2 * 86400.0  # whatever is younger stays: all archives of two days, and the parts of one that is being made
_DAY_S = 86400.0
_PERIODS = ("daily", "weekly", "monthly", "yearly")
_PERIOD_S = {"daily": _DAY_S, "weekly": 7 * _DAY_S, "monthly": 30.5 * _DAY_S, "yearly": 366 * _DAY_S}


class Group(NamedTuple):
    """The snapshots with one tag. `heads` hold archive.json: without one they are no archive.

    `made` is when it began, in Unix seconds; `newest` the latest time that any of its snapshots claims.
    """

    id: str
    made: float
    newest: float
    heads: List[str]
    parts: List[str]


class Verdict(NamedTuple):
    """What stays, by archive and with the reasons ("daily", "young", ...), and what goes; both from old to new.

    `orphans` are groups that are no archive. `heads` are the snapshots to forget first, `parts` those to forget then.
    """

    keep: Dict[str, List[str]]
    forget: List[str]
    orphans: List[str]
    heads: List[str]
    parts: List[str]


def groups(snapshots: Iterable[Mapping[str, Any]]) -> List[Group]:
    """The archives and orphans among `restic snapshots --json`, from old to new; snapshots without our tag are none."""
    found: Dict[str, List[Mapping[str, Any]]] = {}
    for snapshot in snapshots:
        for tag in snapshot.get("tags") or ():
            if tag.startswith(TAG):
                found.setdefault(tag[len(TAG) :], []).append(snapshot)
                break
    made = [_group(identity, each) for identity, each in found.items()]
    return sorted(made, key=lambda group: (group.made, group.id))


def _group(identity: str, snapshots: Sequence[Mapping[str, Any]]) -> Group:
    heads = [each["id"] for each in snapshots if list(each.get("paths") or ()) == [ARCHIVE_FILE]]
    parts = [each["id"] for each in snapshots if each["id"] not in heads]
    times = [seconds(each["time"]) for each in snapshots]
    made = min(times)
    try:
        made = float(calendar.timegm(time.strptime(identity.split("-", maxsplit=1)[0], "%Y%m%dT%H%M%SZ")))
    except ValueError:
        pass
    return Group(identity, made, max([made, *times]), heads, parts)


def seconds(text: str) -> float:
    """A time of restic's ("2026-11-21T02:00:03.123456789+01:00") in Unix seconds. Raises ValueError."""
    at = float(calendar.timegm(time.strptime(text[:19], "%Y-%m-%dT%H:%M:%S")))
    rest = text[19:].lstrip(".0123456789")
    if rest in ("", "Z"):
        return at
    sign, hours, minutes = rest[0], rest[1:3], rest[4:6]
    if sign not in "+-" or len(rest) != len("+01:00"):
        raise ValueError("not a time of restic's: " + text)
    ahead = int(hours) * 3600 + int(minutes) * 60
    return at - ahead if sign == "+" else at + ahead


def counted(found: Sequence[Group], keep: Mapping[str, int], now: float) -> Verdict:
    """Keep the newest archive of each of the last N days, weeks, months and years that have one, in UTC.

    A client whose archives stopped loses none: what counts are days that have an archive, not those that passed.
    """
    why: Dict[str, List[str]] = {}
    for period in _PERIODS:
        left, last = int(keep.get(period) or 0), ""
        for group in reversed(_archives(found)):
            named = _CALENDAR[period](group.made)
            if left > 0 and named != last:
                why.setdefault(group.id, []).append(period)
                left, last = left - 1, named
    return _verdict(found, why, now)


def within(found: Sequence[Group], keep: Mapping[str, int], now: float) -> Verdict:
    """Keep the newest archive of each day within the last N days, and so on for weeks, months and years.

    For a repository that others can add to: however many archives somebody adds, they drive none out of its period.
    """
    why: Dict[str, List[str]] = {}
    for period in _PERIODS:
        since, last = now - int(keep.get(period) or 0) * _PERIOD_S[period], ""
        for group in reversed(_archives(found)):
            named = _CALENDAR[period](group.made)
            if group.made > since and named != last:
                why.setdefault(group.id, []).append(period)
                last = named
    return _verdict(found, why, now)


def _archives(found: Sequence[Group]) -> List[Group]:
    return [group for group in found if group.heads]


def _verdict(found: Sequence[Group], why: Dict[str, List[str]], now: float) -> Verdict:
    archives = _archives(found)
    for group in archives:
        if group.made > now - YOUNG_S:
            why.setdefault(group.id, []).append("young")
    if archives:
        why.setdefault(archives[-1].id, []).append("newest")
    gone = [group for group in archives if group.id not in why]
    orphans = [group for group in found if not group.heads and group.newest <= now - YOUNG_S]
    return Verdict(
        {group.id: why[group.id] for group in archives if group.id in why},
        [group.id for group in gone],
        [group.id for group in orphans],
        [head for group in gone for head in group.heads],
        [part for group in [*gone, *orphans] for part in group.parts],
    )


def _named(pattern: str) -> "Callable[[float], str]":
    return lambda at: time.strftime(pattern, time.gmtime(at))


_CALENDAR = {"daily": _named("%Y%j"), "weekly": _named("%G%V"), "monthly": _named("%Y%m"), "yearly": _named("%Y")}
