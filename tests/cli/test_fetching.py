"""The progress of a model, as a person reads it."""

import json

from otobotctl.cli.human.fetching import Fetching, progress
from otobotctl.cli.human.progress import told

MIB = 1 << 20


def record(completed, total=400 * MIB, status="pulling abc"):
    said = {"model": "mistral:7b", "status": status, "completed": completed, "total": total}
    return {"event": "output", "text": f"progress: {json.dumps(said)}"}


def test_bytes_rate_and_time_left():
    """From what has come since it was first told, so that what was there before counts for no rate."""
    times = iter([0.0, 10.0, 20.0])
    fetching = Fetching(lambda: next(times))
    assert fetching.told(record(100 * MIB)) == "mistral:7b: 100M of 400M"
    assert fetching.told(record(200 * MIB)) == "mistral:7b: 200M of 400M, 10M/s, 20 s left"
    assert fetching.told(record(400 * MIB)) == "mistral:7b: 400M of 400M"
    assert fetching.told(record(0, 0, "pulling manifest")) == "mistral:7b: pulling manifest"


def test_a_log_has_a_line_for_each_tenth():
    """However often the host tells it."""
    fetching = Fetching(lambda: 0.0)
    lines = [fetching.line(record(4 * MIB * step)) for step in range(101)]
    assert len([line for line in lines if line]) == 10


def test_other_words_of_a_host_are_no_progress_and_progress_is_no_line():
    """Also what only looks like it."""
    assert progress({"event": "output", "text": "progress: soon"}) is None
    assert progress({"event": "output", "text": 'progress: {"model": 1}'}) is None
    assert progress({"event": "step_end", "text": "progress: {}"}) is None
    assert not told(record(1), verbose=True)
