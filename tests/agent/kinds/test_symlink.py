"""The agent's half of `symlink`, on a real file system."""

from __future__ import annotations

import os

import pytest

from otobotctl.agent import files
from otobotctl.agent.kinds import symlink
from otobotctl.agent.run import Run, StepError
from otobotctl.plan.kinds.symlink import SymlinkSpec


def converge(wanted):
    symlink.apply(wanted.wire(), Run(lambda line: None))
    return wanted.compare(symlink.probe(wanted.question()))


@pytest.mark.parametrize("before", ["absent", "symlink", "file"])
def test_apply_then_probe_matches(tmp_path, before):
    """Made, pointed elsewhere, or put in a file's place; a second time nothing differs."""
    path = tmp_path / "current"
    {"absent": lambda: None, "symlink": lambda: path.symlink_to("old"), "file": lambda: path.write_text("x")}[before]()
    wanted = SymlinkSpec(path=str(path), target="releases/3")
    assert wanted.compare(symlink.probe(wanted.question())) != ()
    assert converge(wanted) == ()
    assert converge(wanted) == ()
    assert str(path.readlink()) == "releases/3"
    assert [found.name for found in tmp_path.iterdir()] == ["current"]


def test_the_link_is_never_missing(tmp_path, monkeypatch):
    """The old link stands until one rename puts the new one there."""
    path = tmp_path / "current"
    path.symlink_to("old")
    seen = []
    real = os.replace
    monkeypatch.setattr(os, "replace", lambda *a, **k: (seen.append(str(path.readlink())), real(*a, **k)))
    assert converge(SymlinkSpec(path=str(path), target="new")) == ()
    assert seen == ["old"]


def test_what_a_killed_run_left_is_cleared(tmp_path):
    """A half-made link under the hidden name does not stop the next run."""
    (tmp_path / files.beside_name("current")).symlink_to("half")
    assert converge(SymlinkSpec(path=str(tmp_path / "current"), target="new")) == ()
    assert [found.name for found in tmp_path.iterdir()] == ["current"]


def test_a_directory_is_refused(tmp_path):
    """A directory in its place stays, whether the link shall be there or not."""
    (tmp_path / "current").mkdir()
    for wanted in (
        SymlinkSpec(path=str(tmp_path / "current"), target="x"),
        SymlinkSpec(path=str(tmp_path / "current"), state="absent"),
    ):
        with pytest.raises(StepError, match="is a directory, not a symlink"):
            converge(wanted)


def test_absent_removes_the_link_and_not_its_target(tmp_path):
    """The target stays; a second time is nothing to do."""
    (tmp_path / "target").write_text("x")
    (tmp_path / "link").symlink_to("target")
    wanted = SymlinkSpec(path=str(tmp_path / "link"), state="absent")
    assert converge(wanted) == ()
    assert converge(wanted) == ()
    assert (tmp_path / "target").read_text() == "x"


def test_a_missing_parent_says_what_to_do(tmp_path):
    """The directory is not invented."""
    with pytest.raises(StepError, match="add a directory step before"):
        converge(SymlinkSpec(path=str(tmp_path / "a/b"), target="x"))
