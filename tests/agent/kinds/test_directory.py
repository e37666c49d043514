"""The agent's half of `directory`, on a real file system."""

from __future__ import annotations

import os
import stat

import pytest

from otobotctl.agent import files
from otobotctl.agent.kinds import directory
from otobotctl.agent.run import Run, StepError
from otobotctl.plan.kinds.directory import DirectorySpec

OWNER, GROUP = files.me()


def spec(path, mode="0750", **more):
    return DirectorySpec(path=str(path), mode=mode, owner=OWNER, group=GROUP, **more)


def converge(wanted):
    directory.apply(wanted.wire(), Run(lambda line: None))
    return wanted.compare(directory.probe(wanted.question()))


@pytest.mark.parametrize("mode", ["0700", "0755", "2770", "1777"])
def test_apply_then_probe_matches(tmp_path, mode):
    """Made with exactly this mode, special bits too, and a second time nothing differs."""
    wanted = spec(tmp_path / "a", mode)
    assert wanted.compare(directory.probe(wanted.question())) != ()
    assert converge(wanted) == ()
    assert converge(wanted) == ()


def test_missing_parents_are_made_open_and_the_leaf_closed(tmp_path):
    """Like `install -d`: the mode is the leaf's; the parents are 0755 whatever the umask."""
    previous = os.umask(0o077)
    try:
        assert converge(spec(tmp_path / "a/b/c", "0700")) == ()
    finally:
        os.umask(previous)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "a/b").stat().st_mode) == 0o755


def test_a_wrong_mode_is_put_right_and_the_content_kept(tmp_path):
    """What is in the directory is not touched."""
    (tmp_path / "a").mkdir(mode=0o777)
    (tmp_path / "a/file").write_text("x")
    assert converge(spec(tmp_path / "a")) == ()
    assert (tmp_path / "a/file").read_text() == "x"


@pytest.mark.parametrize("kind", ["file", "symlink"])
def test_what_is_no_directory_is_refused(tmp_path, kind):
    """A file or a link in its place stays."""
    path = tmp_path / "a"
    path.write_text("x") if kind == "file" else path.symlink_to(tmp_path)
    with pytest.raises(StepError, match=f"is a {kind}, not a directory"):
        directory.apply(spec(path).wire(), Run(lambda line: None))
    assert directory.probe({"path": str(path)})["type"] == kind


def test_a_file_among_the_parents_is_an_error_not_a_replacement(tmp_path):
    """The message names the path."""
    (tmp_path / "a").write_text("x")
    with pytest.raises(StepError, match="cannot make"):
        directory.apply(spec(tmp_path / "a/b").wire(), Run(lambda line: None))


def test_only_an_empty_directory_is_removed(tmp_path):
    """One with something in it stays, and the message says so."""
    path = tmp_path / "a"
    path.mkdir()
    (path / "file").write_text("x")
    with pytest.raises(StepError, match="is not empty"):
        converge(spec(path, state="absent"))
    (path / "file").unlink()
    assert converge(spec(path, state="absent")) == ()
    assert converge(spec(path, state="absent")) == ()
    assert not path.exists()
