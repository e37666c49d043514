"""Asking programs: what they say and how they end, whatever they do with their pipes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otobotctl.agent import shell
from otobotctl.agent.run import ProbeError
from otobotctl.agent.shell import NOT_FOUND, ask


def descriptors():
    return len(list(Path("/dev/fd").iterdir()))


def test_both_outputs_and_the_status_come_back():
    """More than a pipe holds on either side blocks nothing; bytes that are no UTF-8 are replaced."""
    script = "head -c 300000 /dev/zero | tr '\\0' e >&2; head -c 300000 /dev/zero | tr '\\0' o; printf '\\377'; exit 7"
    answer = ask(["sh", "-c", script])
    assert answer.status == 7
    assert answer.stdout == "o" * 300000 + "\ufffd"
    assert answer.stderr == "e" * 300000


def test_stdin_is_empty_and_the_environment_is_ours():
    """A program that asks gets no answer; PATH and LC_ALL are the same on every host, and more can be given."""
    answer = ask(["sh", "-c", "cat; echo $PATH $LC_ALL $MORE"], env={"MORE": "more"})
    assert answer.stdout.split() == [shell.PATH, "C.UTF-8", "more"]


def test_a_signal_that_ends_it_is_a_negative_status():
    """And SIGPIPE, which Python ignores, is as in any shell."""
    assert ask(["sh", "-c", "kill -TERM $$"]).status == -signal.SIGTERM
    assert ask(["sh", "-c", "kill -PIPE $$; echo still here"]).status == -signal.SIGPIPE


@pytest.mark.parametrize("argv", [["no-such-program"], ["/no/such/program"], ["/etc/passwd"], ["/etc/passwd/x"]])
def test_a_program_that_cannot_be_run_is_127(argv):
    """With its name in stderr, and no descriptor left open."""
    before = descriptors()
    answer = ask(argv)
    assert (answer.status, answer.stdout) == (NOT_FOUND, "")
    assert argv[0] in answer.stderr
    assert descriptors() == before


def test_it_runs_where_it_is_told_to(tmp_path):
    """A directory that is not there is 127 too."""
    assert ask(["pwd", "-P"], cwd=str(tmp_path)).stdout.strip() == str(tmp_path.resolve())
    assert ask(["pwd"], cwd=str(tmp_path / "none")).status == NOT_FOUND
    assert ask(["no-such-program"], cwd=str(tmp_path)).status == NOT_FOUND


@pytest.mark.parametrize("script", ["exec sleep 600", "exec sleep 600 >/dev/null 2>&1", "sleep 600 & exit 0"])
def test_no_answer_in_time_is_told_and_what_was_asked_is_ended(script, tmp_path):
    """Whether it keeps its pipes, closes them, or leaves them to a child."""
    before, begun = descriptors(), time.monotonic()
    if script.endswith("exit 0"):
        answer = ask(["sh", "-c", f"{script.replace('exit', f'echo $! > {tmp_path}/pid; exit')}"], timeout_s=2)
        assert answer.status == 0
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    else:
        with pytest.raises(ProbeError, match="sh did not answer in 0 s"):
            ask(["sh", "-c", script], timeout_s=0.4)
    assert time.monotonic() - begun < 300
    assert descriptors() == before


@pytest.mark.skipif(sys.platform != "linux", reason="the agent runs on Linux only")
def test_what_is_open_here_is_not_inherited(tmp_path):
    """A lock that is held while somebody is asked stays ours."""
    with (tmp_path / "lock").open("w"):
        found = ask(["ls", "-l", "/proc/self/fd"]).stdout
    assert "/dev/null" in found
    assert "pipe:" in found
    assert "lock" not in found


def test_a_look_imports_no_subprocess():
    """That would take a third more of a host's CPU."""
    program = (
        "import sys; from otobotctl.agent import main, observe\n"
        "observe.answers([{'kind': kind, 'params': {'names': ['x'], 'name': 'x', 'watches': [], 'path': '/'}}"
        " for kind in ('package', 'service', 'directory')])\n"
        "print('subprocess' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(Path.cwd())!r}); {program}"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False\n"
