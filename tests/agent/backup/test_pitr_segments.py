"""Which log a base needs, where it has a gap, and what a prune may take away."""

from __future__ import annotations

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otobotctl.agent.backup.hands import RestoreError
from otobotctl.agent.backup.pitr import moments, segments
from otobotctl.agent.backup.pitr.base import due
from otobotctl.agent.backup.pitr.here import BASES, LOG, Spool, of_target, without_base
from otobotctl.agent.backup.pitr.moments import Found
from otobotctl.agent.backup.pitr.segments import (
    PARTIAL,
    SIZE,
    chain,
    following,
    gone,
    holds,
    next_after,
    number,
    of_lsn,
)
from otobotctl.agent.backup.restic import Restic

NOW = 1_795_000_000.0
DAY_S = 86400.0


def segment(place: int) -> str:
    """The segment of this number."""
    return f"00000001{place // 256:08X}{place % 256:08X}"


def wal(first: int, last: int, covers: float, *, partial: int = 0, series: str = "s") -> dict:
    """A snapshot of whole segments, none where `last` is less than `first`, and of one that is being written."""
    tags = ["pitr", f"series={series}", f"covers={covers:.3f}"]
    tags += [f"first={segment(first)}", f"last={segment(last)}"] if last >= first else []
    tags += [f"partial={segment(partial)}"] if partial else []
    return {"id": f"wal-{first}-{last}-{partial}-{covers}", "paths": ["/wal.tar"], "tags": tags, "time": _time(covers)}


def base(first: int, ended: float, *, series: str = "s", head: bool = True) -> list[dict]:
    """The two snapshots of a base."""
    ident, at = f"b{first}", _time(ended)
    said = {"base": ident, "series": series, "first": segment(first), "made": ended - 5, "ended": ended, "bytes": 9}
    tags = ["pitr", *(f"{name}={value}" for name, value in said.items())]
    copy = {"id": f"copy-{ident}", "paths": ["/base.tar"], "tags": ["pitr", f"base={ident}"], "time": at}
    return [copy, {"id": f"head-{ident}", "paths": ["/base.json"], "tags": tags, "time": at}] if head else [copy]


def _time(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def chains(listed: list[dict], known: float = 0.0) -> list[segments.Chain]:
    """What follows each base."""
    return [chain(each, segments.wals(listed), known) for each in segments.bases(listed)]


@given(st.integers(0, 2**39))
def test_a_segment_is_followed_by_the_next_number(place):
    """Also where the low half overflows; and a position is in the segment that its bytes say."""
    name = segment(place)
    assert number(following(name)) == place + 1
    assert of_lsn(f"{place // 256:X}/{place % 256:02X}000028", "00000001") == name


def test_a_base_is_followed_until_the_log_has_a_gap():
    """Whole segments and the newest part of one; what comes after a missing segment counts for nothing, and is named."""
    listed = [
        *base(3, 100.0), wal(2, 3, 110.0, partial=4), wal(1, 0, 120.0, partial=4), wal(1, 0, 130.0, partial=4),
        wal(4, 6, 140.0, partial=7),
    ]  # fmt: skip
    (found,) = chains(listed)
    assert (found.since, found.until, found.gap) == (100.0, 140.0, "")
    assert [each.covers for each in found.wal] == [110.0, 140.0]  # the parts in between are in what came whole
    (found,) = chains([*listed, wal(8, 9, 150.0)])
    assert (found.until, found.gap) == (140.0, segment(7))
    (found,) = chains([*listed, wal(7, 7, 160.0, partial=9)], known=170.0)
    assert (found.until, found.gap) == (170.0, "")
    assert chains([*base(3, 100.0), wal(4, 5, 110.0)])[0].until == 0.0  # its first segment is missing
    assert chains([*base(3, 100.0), wal(3, 4, 110.0, series="other")])[0].wal == []


def test_the_beginning_of_a_segment_that_came_before_the_former_one_is_no_gap():
    """One became whole between two looks at the directory; what it says it covers counts when all is there."""
    listed = [*base(3, 100.0), wal(3, 3, 110.0, partial=4), wal(1, 0, 120.0, partial=5)]
    (found,) = chains(listed)
    assert (found.until, found.gap) == (110.0, segment(4))
    (found,) = chains([*listed, wal(4, 4, 130.0, partial=5)])
    assert (found.until, found.gap) == (130.0, "")
    assert [each.covers for each in found.wal] == [110.0, 130.0]


def test_a_piece_covers_what_its_segments_can_hold():
    """A segment that is written is sent after the one before it alone; a position is in the newest, or before it."""
    assert next_after(segment(3), segment(4)) == segment(4)
    assert next_after(segment(3), segment(5)) == ""
    assert next_after("", segment(5)) == segment(5)
    assert holds(segment(4), "0/5000000")
    assert not holds(segment(4), "0/5000028")
    assert not holds("", "0/28")


def test_a_segment_that_is_being_prepared_is_not_there_yet(tmp_path):
    """Its receiver fills it with zeros first: until then it has nothing of the log in it."""
    (tmp_path / segment(3)).touch()
    (tmp_path / f"00000002{segment(1)[8:]}").touch()
    partial = tmp_path / (segment(4) + PARTIAL)
    partial.write_bytes(bytes(8192))
    assert Spool(str(tmp_path)).look("00000001") == ([segment(3)], "")
    os.truncate(partial, SIZE)
    assert Spool(str(tmp_path)).look("00000001") == ([segment(3)], segment(4))


def test_a_moment_needs_no_more_of_the_log_than_covers_it():
    """And what covers no moment is refused, with the periods that can be had."""
    listed = [*base(3, 100.0), wal(3, 3, 110.0, partial=4), wal(4, 4, 120.0, partial=5), wal(1, 0, 130.0, partial=5)]
    target = {"name": "disk", "repository": "/x", "environment": {}, "options": [], "append_only": False}
    candidates = [Found(Restic(target, "/key"), each) for each in chains(listed)]
    found, at = moments.choose(candidates, 115.0, latest=False, client="acme")
    assert (at, [each.covers for each in found.chain.wal]) == (115.0, [110.0, 120.0])
    assert moments.choose(candidates, None, latest=True, client="acme")[1] == 130.0
    for moment in (99.0, 131.0):
        with pytest.raises(RestoreError, match=r"1970-01-01 00:01:40 UTC to 1970-01-01 00:02:10 UTC; .* backup list"):
            moments.choose(candidates, moment, latest=False, client="acme")
    with pytest.raises(RestoreError, match="there is nothing yet"):
        moments.choose([], None, latest=True, client="acme")


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(1, 40)), max_size=8, unique_by=lambda each: each[0]),
    st.integers(1, 9),
)
def test_what_is_pruned_no_moment_of_the_last_days_needs(made, days):
    """Whatever bases there are and wherever the log begins: the same moments of those days can be had afterwards."""
    listed = [wal(place * 2, place * 2 + 1, NOW - (25 - place) * DAY_S, partial=place * 2 + 2) for place in range(25)]
    for place, _ in made:
        listed += base(place * 2 + 1, NOW - (24.5 - place) * DAY_S)
    left = [each for each in listed if each["id"] not in gone(listed, days, NOW)]
    since = NOW - days * DAY_S

    def had(these: list[dict]) -> list[tuple[float, float]]:
        return [(max(a, since), b) for a, b in moments.ranges(chains(these)) if b > since]

    assert had(left) == had(listed)
    old = [each for each in segments.bases(left) if each.ended <= since]
    assert len(old) <= 1


def test_a_prune_takes_copies_that_are_no_base_and_the_log_of_nobody():
    """Two days old, and not before; the newest part of a segment stays, the ones before it go."""
    half = [*base(5, NOW - 3 * DAY_S, head=False), *base(6, NOW - DAY_S, head=False)]
    nobodys = [wal(1, 1, NOW - 3 * DAY_S, series="old"), wal(1, 1, NOW - DAY_S, series="new")]
    parts = [wal(1, 0, NOW - 60.0 + place, partial=9) for place in range(3)]
    listed = [*half, *nobodys, *base(9, NOW - 100.0), wal(9, 8, NOW - 90.0, partial=9), *parts]
    assert gone(listed, 7, NOW) == [
        "copy-b5", nobodys[0]["id"], f"wal-9-8-9-{NOW - 90.0}", parts[0]["id"], parts[1]["id"],
    ]  # fmt: skip
    assert gone([{"id": "x", "paths": ["/archive.json"], "tags": ["archive=1"], "time": _time(0)}], 1, NOW) == []


def test_a_log_without_its_base_is_told_by_its_series():
    """One that has begun; not one that waits for its first archive, nor one whose base is of it."""
    log = {"targets": {"a": {"series": "1"}, "b": {"series": "2"}, "c": {"series": ""}, "d": {"series": "4"}}}
    bases = {"targets": {"a": {"base": {"series": "1"}}, "b": {"base": {"series": "1"}}, "c": {"base": None}}}
    assert without_base(log, bases) == {"b": "2", "d": "4"}


def test_a_base_is_due_once_a_day_and_for_each_new_log():
    """Not before anything of the log has arrived, and not at once after one that failed."""
    log = {**of_target({"targets": {}}, LOG, "disk"), "series": "s"}
    none = of_target({"targets": {}}, BASES, "disk")
    two = NOW - (NOW % DAY_S) + 2 * 3600.0
    made = {**none, "base": {"id": "b", "at": two - 60.0, "first": "", "series": "s"}}
    assert not due({**log, "series": ""}, none, NOW)
    assert due(log, none, NOW)
    assert not due(log, made, two - 1.0)
    assert due(log, made, two + 1.0)
    assert due({**log, "series": "t"}, made, two - 1.0)
    failed = {**none, "error": {"at": NOW - 60.0}}
    assert not due(log, failed, NOW)
    assert due(log, failed, NOW + 900.0)


def test_a_replay_has_to_come_as_far_as_the_log_was():
    """To the position that was told; where that is a page's end, or nobody told one, to about the newest segment."""
    exact = wal(5, 6, 50.0, partial=7)
    exact["tags"].append("lsn=0/7000028")
    torn = {**exact, "tags": [*exact["tags"][:-1], "lsn=0/7002000"]}
    (head,) = segments.bases(base(5, 10.0))
    found = [segments.reaches(chain(head, segments.wals([each]))) for each in (exact, torn, wal(5, 6, 50.0))]
    assert found == [0x7000028, 0x7002000 - (1 << 20), 0x6000000 - (1 << 20)]
