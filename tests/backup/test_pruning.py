"""What a prune from the operator's machine takes away, and when it refuses."""

from __future__ import annotations

import time

from otobotctl.agent.backup.keeping import groups
from otobotctl.backup import pruning

NOW = 1_795_000_000.0
DAY_S = 86400.0
KEEP = {"daily": 30, "weekly": 12, "monthly": 12, "yearly": 7}


def archive(age_days: float, *, written: float | None = None) -> list[dict]:
    """The two snapshots of an archive."""
    made = NOW - age_days * DAY_S
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(made)) + "-aaaa"
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(made if written is None else NOW - written * DAY_S))
    tags = ["archive=" + name]
    return [
        {"id": f"p-{name}", "time": at, "tags": tags, "paths": ["/databases-a.dump"]},
        {"id": f"h-{name}", "time": at, "tags": tags, "paths": ["/archive.json"]},
    ]


def several(*ages: float) -> list[dict]:
    return [snapshot for age in ages for snapshot in archive(age)]


def against(snapshots, *, append_only=True):
    return pruning.against(groups(snapshots), KEEP, NOW, append_only=append_only)


def test_nothing_speaks_against_a_repository_of_a_host_at_work():
    """Archives of three months, the newest of today."""
    assert against(several(*range(90))) == ()
    assert against([]) == ()


def test_an_archive_of_the_future_stops_a_prune():
    """Whoever has taken a host over could drive the real ones out with it; so it is said, and nothing goes."""
    (said,) = against([*several(1, 2, 3), *archive(-400)])
    assert "lies in the future" in said
    said = against([*several(1, 2, 3), *archive(1.5, written=-2)])[0]
    assert "lies in the future" in said


def test_an_archive_with_a_forged_name_stops_a_prune():
    """Its name says a year ago, its snapshots say today."""
    (said,) = against([*several(1, 2, 3), *archive(365, written=0)])
    assert "another time than its name says" in said


def test_archives_that_stopped_long_ago_stop_a_prune_by_age():
    """By their age all daily ones would go; by count, as a host prunes itself, none does."""
    (said,) = against(several(*range(40, 80)))
    assert "40 days old" in said
    assert against(several(*range(40, 80)), append_only=False) == ()


def test_added_archives_drive_no_real_one_out_of_an_append_only_repository():
    """A thousand of today: by count they would be thirty days; within periods every real one of before stays."""
    real = several(*range(2, 25))
    many = [snapshot for number in range(1000) for snapshot in archive(number / 10000)]
    kept = pruning.plan(groups([*real, *many]), KEEP, NOW, append_only=True).keep
    assert {snapshot["tags"][0][8:] for snapshot in real} <= set(kept)


def test_archives_go_whole_and_their_heads_go_first():
    """A prune that is cut leaves parts of no archive."""
    decided = pruning.plan(groups(several(*range(60))), {**KEEP, "weekly": 0, "monthly": 0}, NOW, append_only=True)
    assert decided.forget
    assert [each[2:] for each in decided.heads] == list(decided.forget)
    assert [each[2:] for each in decided.parts] == list(decided.forget)
    assert not set(decided.forget) & set(decided.keep)
