"""Commands of a step: their output is told as it comes, and nothing they do hangs the run."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from otobotctl.agent.run import Run, StepError


@pytest.fixture
def said():
    return []


@pytest.fixture
def run(said):
    return Run(said.append)


def test_stdout_is_returned_and_both_streams_are_told(run, said):
    """Warnings on stderr are journalled, and do not mix with what a kind parses."""
    assert run.command(["sh", "-c", "echo out; echo warning >&2; printf last"]) == "out\nlast"
    assert {"out", "warning", "last"} == set(said)


def test_a_failing_command_is_a_step_error(run, said):
    """The error names the program, its status and its last words; all of them are in the journal."""
    with pytest.raises(StepError, match=r"^sh ended with 4: why$"):
        run.command(["sh", "-c", "echo trying; echo why >&2; echo >&2; exit 4"])
    assert {"trying", "why"} <= set(said)


def test_a_missing_command_is_a_step_error(run):
    """No traceback for a program that is not installed."""
    with pytest.raises(StepError, match=r"no-such-program cannot be run: No such file"):
        run.command(["no-such-program"])


def test_only_the_last_writing_of_a_progress_line_is_told(run, said):
    """Carriage returns overwrite."""
    run.command(["printf", "1%%\\r50%%\\r100%%\\r\\n"])
    assert said == ["100%"]


def test_large_input_and_output_do_not_block_each_other(run):
    """More than a pipe holds goes in while more than a pipe holds comes out."""
    text = b"x" * 79 + b"\n"
    assert len(text) * 20000 - 1 == len(run.command(["cat"], stdin=text * 20000))


def test_a_command_that_reads_nothing_of_its_input_is_fine(run):
    """A closed stdin is no error of ours."""
    assert run.command(["sh", "-c", "exec <&-; echo done"], stdin=b"x" * 1000000) == "done"


def test_a_daemon_left_behind_does_not_hold_the_run(run, said):
    """A child that keeps stdout open for ever is not waited for."""
    assert run.command(["sh", "-c", "sleep 300 & echo $! >&2; echo started"]) == "started"
    (daemon,) = (int(line) for line in said if line.isdecimal())
    os.kill(daemon, signal.SIGKILL)


def test_the_given_environment_wins(run):
    """What a step sets stands over the defaults, which keep every program's words in one language."""
    assert run.command(["sh", "-c", "echo $LC_ALL"]) == "C.UTF-8"
    assert (
        run.command(["sh", "-c", "echo $LC_ALL $DEBIAN_FRONTEND"], env={"LC_ALL": "fr_FR.UTF-8"})
        == "fr_FR.UTF-8 noninteractive"
    )
    assert "/usr/sbin" in run.command([sys.executable, "-c", "import os; print(os.environ['PATH'])"])
