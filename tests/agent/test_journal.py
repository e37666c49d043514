"""The journal and the lock, as files."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from otobotctl.agent import follow, journal, lock
from otobotctl.agent.places import Places
from otobotctl.agent.wire import RefusedError, Wire

HOLDER = {"run": "r1", "who": "me@here", "at": 1.0, "pid": 1}
START = {"run": "r1", "who": "me@here", "stage": "one", "steps": ["one/a"]}


@pytest.fixture
def places(tmp_path):
    found = Places(str(tmp_path / "state/agent/digest"), str(tmp_path / "state"), str(tmp_path / "run"))
    found.prepare()
    return found


def test_directories_belong_to_root_alone(places):
    """0700 from the start, and again where somebody loosened it."""
    Path(places.runs).chmod(0o755)
    places.prepare()
    assert {0o700} == {Path(path).stat().st_mode & 0o777 for path in (places.state, places.runs, places.runtime)}


@pytest.mark.parametrize("name", ["", "../lock", "a/b", ".hidden", "x" * 65, "a\n"])
def test_a_run_that_could_leave_its_directory_is_refused(places, name):
    """A run's name is a plain word."""
    with pytest.raises(RefusedError, match="not the name of a run"):
        journal.create(places.runs, name)


def test_a_run_starts_once(places):
    """A request that arrives twice does not apply twice."""
    journal.create(places.runs, "r1")
    with pytest.raises(RefusedError, match="was started before"):
        journal.create(places.runs, "r1")


@pytest.mark.parametrize(
    ("end", "running", "state"),
    [
        (None, "r1", "running"),
        (None, None, "died"),
        (None, "another", "died"),
        ({"ok": True, "failed": None}, None, "ok"),
        ({"ok": False, "failed": "one/a"}, None, "failed"),
    ],
)
def test_the_last_run_is_summed_up(places, end, running, state):
    """How the newest run ended, and where it stood."""
    record = journal.create(places.runs, "r1")
    record.add("run_start", **START)
    record.add("step_start", step="one/a")
    for number in range(3000):  # more than the tail that is read back
        record.add("output", step="one/a", text=f"line {number}")
    record.add("step_start", step="one/a")
    if end:
        record.add("run_end", **end)
    found = journal.last(places.runs, running)
    assert (state, None if state == "ok" else "one/a", "me@here") == (found["state"], found["step"], found["who"])


def test_a_torn_last_line_is_passed_over(places):
    """What a power cut left of a record harms nobody."""
    record = journal.create(places.runs, "r1")
    record.add("run_start", **START)
    os.write(record.descriptor, b'{"event":"step_st')
    assert journal.last(places.runs, None)["state"] == "died"


def test_a_host_without_runs_has_no_last_one(tmp_path):
    """Nor has one whose only journal is empty."""
    assert journal.last(str(tmp_path / "absent"), None) is None
    journal.create(str(tmp_path), "r1")
    assert journal.last(str(tmp_path), None) is None


def test_a_full_disk_is_a_journal_error():
    """The text is the operator's."""
    with pytest.raises(journal.JournalError, match="cannot be written: No space left on device"):
        journal.Journal(os.open("/dev/full", os.O_WRONLY)).add("run_start")


def test_the_lock_names_its_holder_and_dies_with_it(places):
    """Whoever inherited the descriptor holds it; when the last one closes it the host is free."""
    held = lock.acquire(places.lock, HOLDER)
    inherited = os.dup(held)
    os.close(held)
    assert lock.holder(places.lock) == HOLDER
    with pytest.raises(RefusedError) as caught:
        lock.acquire(places.lock, dict(HOLDER, who="you@there"))
    assert (caught.value.code, caught.value.holder) == ("locked", HOLDER)
    os.close(inherited)
    assert lock.holder(places.lock) is None


def test_looking_at_a_free_lock_does_not_make_it_look_held(places):
    """Two that look at once do not take each other for a run."""
    os.close(lock.acquire(places.lock, HOLDER))
    looking = os.open(places.lock, os.O_RDWR)
    fcntl.flock(looking, fcntl.LOCK_SH)
    assert lock.holder(places.lock) is None
    os.close(looking)


def test_a_holder_that_has_not_spoken_yet_is_still_a_holder(places):
    """Between taking the lock and writing into it, there is somebody."""
    held = os.open(places.lock, os.O_RDWR | os.O_CREAT)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert lock.holder(places.lock)["who"] == "a run that is just starting"
    os.close(held)


def followed(places, offset):
    ours, theirs = os.pipe()
    try:
        follow.again(places, "r1", offset, Wire(theirs))
    finally:
        os.close(theirs)
        with os.fdopen(ours) as stream:
            records = [json.loads(line) for line in stream]
    return [record["event"] for record in records]


def test_a_finished_run_is_read_from_any_record(places):
    """A line that broke is taken up at the record it broke at."""
    record = journal.create(places.runs, "r1")
    for event in ("run_start", "step_start", "step_end", "run_end"):
        record.add(event)
    assert followed(places, 0) == ["run_start", "step_start", "step_end", "run_end"]
    assert followed(places, 3) == ["run_end"]
    assert followed(places, 4) == []


def test_following_tells_a_dead_run_from_an_unknown_one(places):
    """The one ended without a word, the other never began."""
    with pytest.raises(RefusedError) as caught:
        followed(places, 0)
    assert caught.value.code == "unknown"
    journal.create(places.runs, "r1").add("run_start")
    with pytest.raises(RefusedError) as caught:
        followed(places, 0)
    assert caught.value.code == "died"
