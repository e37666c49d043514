"""What stays in a repository and what goes."""

from __future__ import annotations

import json
import subprocess
import time

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from otobotctl.agent.backup import keeping
from otobotctl.agent.backup.keeping import Group, counted, groups, within
from otobotctl.agent.backup.restic import Restic

DAY_S = 86400
NOW = 1_795_000_000.0  # 2026-11-18
KEEP = {"daily": 30, "weekly": 12, "monthly": 12, "yearly": 7}

ages = st.lists(st.integers(-3 * DAY_S, 3000 * DAY_S), max_size=60, unique=True)
keeps = st.fixed_dictionaries({name: st.integers(0, 5) for name in KEEP})


def archive(made: float, *, head: bool = True) -> Group:
    """An archive of two snapshots."""
    name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(made)) + f"-{made % 1:.2f}"
    return Group(name, made, made, [f"head-{name}"] if head else [], [f"part-{name}", f"more-{name}"])


def archives(*made: float) -> list[Group]:
    """Archives from old to new."""
    return [archive(each) for each in sorted(made)]


# The machine may have other work: how long an example takes says nothing of what is decided.
_LOADED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


@_LOADED
@given(ages, keeps, st.sampled_from([counted, within]))
def test_each_archive_stays_or_goes_as_a_whole(ages, keep, decide):
    """Kept and forgotten are disjoint and all there is; the snapshots to forget are those of what goes, no other."""
    found = archives(*(NOW - age for age in ages))
    verdict = decide(found, keep, NOW)
    assert sorted([*verdict.keep, *verdict.forget]) == sorted(each.id for each in found)
    assert not set(verdict.keep) & set(verdict.forget)
    gone = [each for each in found if each.id in verdict.forget]
    assert verdict.heads == [head for each in gone for head in each.heads]
    assert verdict.parts == [part for each in gone for part in each.parts]


@_LOADED
@given(ages.filter(bool), keeps, st.sampled_from([counted, within]))
def test_the_newest_and_the_young_stay(ages, keep, decide):
    """Whatever is asked for."""
    found = archives(*(NOW - age for age in ages))
    kept = decide(found, keep, NOW).keep
    assert found[-1].id in kept
    assert {each.id for each in found if each.made > NOW - keeping.YOUNG_S} <= set(kept)


@_LOADED
@given(ages, keeps, st.sampled_from([counted, within]))
def test_a_second_prune_at_once_finds_nothing_to_do(ages, keep, decide):
    """So one that was killed is finished by running it again."""
    found = archives(*(NOW - age for age in ages))
    kept = decide(found, keep, NOW).keep
    again = decide([each for each in found if each.id in kept], keep, NOW)
    assert again.keep == kept
    assert (again.forget, again.heads, again.parts) == ([], [], [])


@_LOADED
@given(ages, ages, keeps)
def test_within_nobody_drives_an_archive_out_by_adding_newer_periods(ages, added, keep):
    """An archive stays, however many archives of other days, weeks, months and years somebody adds."""
    found = archives(*(NOW - age for age in ages))
    named = {keeping._CALENDAR["yearly"](each.made) for each in found}
    more = [archive(NOW - age + 0.25) for age in added]
    strange = [each for each in more if keeping._CALENDAR["yearly"](each.made) not in named]
    weeks = {keeping._CALENDAR["weekly"](each.made) for each in found}
    strange = [each for each in strange if keeping._CALENDAR["weekly"](each.made) not in weeks]
    before = {name for name, why in within(found, keep, NOW).keep.items() if why != ["newest"]}
    both = sorted([*found, *strange], key=lambda each: each.made)
    assert before <= set(within(both, keep, NOW).keep)


def test_three_years_of_archives_every_four_hours_pruned_each_night():
    """30 days, 12 weeks, 12 months and the years stay, and two days of every four hours: 57 to 70 archives."""
    found: list[Group] = []
    now = NOW - NOW % DAY_S
    for _ in range(3 * 365):
        found += archives(*(now + hour * 3600 for hour in range(2, 24, 4)))
        now += DAY_S
        kept = counted(found, KEEP, now + 7200).keep
        found = [each for each in found if each.id in kept]
    days = {int(each.made // DAY_S) for each in found}
    assert len([day for day in days if day > now // DAY_S - 31]) >= 30
    assert 57 <= len(found) <= 70
    months = {time.strftime("%Y%m", time.gmtime(each.made)) for each in found}
    assert len(months) >= 12
    assert len({time.strftime("%Y", time.gmtime(each.made)) for each in found}) >= 3


def test_archives_that_stopped_a_year_ago_are_not_forgotten_by_count():
    """A day without an archive is no day of the thirty."""
    found = archives(*(NOW - (365 + day) * DAY_S for day in range(30)))
    assert counted(found, KEEP, NOW).forget == []


def test_parts_without_an_archive_go_once_they_cannot_be_under_way():
    """What a killed run left; one of today may be a run that goes on."""
    old, young = archive(NOW - 3 * DAY_S, head=False), archive(NOW - 3600, head=False)
    verdict = counted([old, archive(NOW - 7200), young], KEEP, NOW)
    assert verdict.orphans == [old.id]
    assert (verdict.heads, verdict.parts) == ([], old.parts)


def test_snapshots_become_archives_by_their_tag():
    """Those of others are none of our business; an archive's time is the one in its id."""
    tags = ["archive=20261121T020003Z-9f31"]
    read = [
        {"id": "b", "time": "2026-11-21T03:00:09.5+01:00", "tags": tags, "paths": ["/archive.json"]},
        {"id": "a", "time": "2026-11-21T02:00:04.123456789Z", "tags": tags, "paths": ["/databases/n8n.dump"]},
        {"id": "c", "time": "2026-11-21T02:00:04Z", "tags": ["mine"], "paths": ["/archive.json"]},
        {"id": "d", "time": "2026-11-21T02:00:04Z", "paths": ["/archive.json"]},
    ]
    (only,) = groups(read)
    assert only == Group("20261121T020003Z-9f31", 1795226403.0, 1795226409.0, ["b"], ["a"])


def test_what_restic_itself_would_keep_stays(restic: Restic):
    """Restic's own words for the same numbers, but for the oldest of all, which newer ones of it keep as well."""
    made = [NOW - 60 * DAY_S - age * 7 * 3600 for age in (0, 1, 2, 5, 9, 20, 21, 40, 100, 101, 300, 900, 2000)]
    environment = dict(restic._env, TZ="UTC")
    for at in made:
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at))
        argv = [*restic._argv, "backup", "--stdin", "--stdin-filename=x", "--host=acme", "--time=" + stamp]
        subprocess.run(argv, env=environment, input=b"x", capture_output=True, check=True)
    keep = {"daily": 4, "weekly": 3, "monthly": 3, "yearly": 2}
    words = [f"--keep-{name}={count}" for name, count in keep.items()]
    argv = [*restic._argv, "forget", "--json", "--dry-run", *words]
    said = subprocess.run(argv, env=environment, capture_output=True, check=True).stdout
    theirs = {keeping.seconds(each["time"]) for each in json.loads(said)[0]["keep"]}
    found = {each.id: each.made for each in archives(*made)}
    ours = {found[name] for name in counted(archives(*made), keep, NOW).keep}
    assert theirs - {min(made)} == ours - {min(made)}
