"""The progress of a model, as a person reads it."""

import io
import json

from rich.console import Console

from otobotctl.cli.human.fetching import Fetching, progress
from otobotctl.cli.human.progress import Live, bars, told

MIB = 1 << 20


def record(completed, total=400 * MIB, status="pulling abc", model="mistral:7b"):
    said = {"model": model, "status": status, "completed": completed, "total": total}
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


def test_each_model_has_a_bar_of_its_own_that_moves_by_bytes():
    """Beside the one that counts steps; a name is never taken for markup."""
    board = bars(Console(file=io.StringIO(), width=200))
    live = Live(board, verbose=False)
    live.event({"event": "run_start", "stage": "models", "steps": ["models/mistral:7b", "models/[b]:1b"]})
    live.event({"event": "step_start", "step": "models/mistral:7b"})
    live.event(record(0, 0, "pulling manifest"))
    live.event(record(100 * MIB))
    live.event(record(400 * MIB))
    live.event({"event": "step_end", "step": "models/mistral:7b", "ok": True, "changed": True})
    live.event(record(30 * MIB, 60 * MIB, model="[b]:1b"))
    steps, mistral, other = board.tasks
    assert (steps.completed, steps.total, steps.fields["told"]) == (1, 2, "1/2")
    assert (mistral.description, mistral.percentage, mistral.fields["told"]) == ("mistral:7b", 100, "400M of 400M")
    assert (other.completed, other.total, other.fields["told"]) == (30 * MIB, 60 * MIB, "30M of 60M")
    shown = Console(file=io.StringIO(), width=200)
    shown.print(board.get_renderable())
    assert "[b]:1b" in shown.file.getvalue()
    assert "30M of 60M" in shown.file.getvalue()
