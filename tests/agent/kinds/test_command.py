"""Commands, run for real on this machine."""

import getpass
import os
import pwd

import pytest

from otobotctl.agent.kinds import command
from otobotctl.agent.run import Run, StepError


@pytest.fixture
def said():
    return []


@pytest.fixture
def run(said):
    return Run(said.append)


def test_creates_makes_it_run_once(tmp_path, run):
    """A second apply does nothing."""
    params = {
        "argv": ["sh", "-c", "echo run >> log; touch done"],
        "creates": str(tmp_path / "done"),
        "cwd": str(tmp_path),
    }
    assert command.probe(params) == {"done": False}
    command.apply(params, run)
    command.apply(params, run)
    assert command.probe(params) == {"done": True}
    assert (tmp_path / "log").read_text() == "run\n"


def test_unless_decides_by_its_exit_status(tmp_path, run):
    """In the same directory and environment as the command."""
    params = {
        "argv": ["sh", "-c", 'touch "$NAME"'],
        "unless": ["sh", "-c", 'test -e "$NAME"'],
        "cwd": str(tmp_path),
        "env": {"NAME": "it"},
    }
    assert command.probe(params) == {"done": False}
    command.apply(params, run)
    assert command.probe(params) == {"done": True}


def test_unless_that_cannot_run_yet_is_not_done(tmp_path):
    """Its program, directory or user may come from an earlier step."""
    assert command.probe({"unless": ["no-such-program-here"]}) == {"done": False}
    assert command.probe({"unless": ["true"], "cwd": str(tmp_path / "absent")}) == {"done": False}
    assert command.probe({"unless": ["true"], "user": "nosuchuser"}) == {"done": False}


def test_a_command_that_fails_shows_its_stderr(tmp_path, run, said):
    """And its status."""
    with pytest.raises(StepError, match="sh ended with 3"):
        command.apply({"argv": ["sh", "-c", "echo trouble >&2; exit 3"], "creates": str(tmp_path / "x")}, run)
    assert said == ["trouble"]


def test_a_command_that_did_not_do_it_fails(tmp_path, run):
    """It would run at every apply."""
    with pytest.raises(StepError, match="true ended well, yet this still does not hold"):
        command.apply({"argv": ["true"], "creates": str(tmp_path / "x")}, run)


@pytest.mark.skipif(os.geteuid() != 0, reason="becoming a user needs root")
def test_a_user_gets_a_home_of_its_own(tmp_path, run):
    """Programs that write to $HOME must not write to root's."""
    me = getpass.getuser()
    params = {"argv": ["sh", "-c", f"echo $USER $HOME > {tmp_path}/who"], "creates": f"{tmp_path}/who", "user": me}
    command.apply(params, run)
    assert (tmp_path / "who").read_text() == f"{me} {pwd.getpwnam(me).pw_dir}\n"
