"""The agent's half of `file`, on a real file system."""

from __future__ import annotations

import base64
import os
import resource
import signal
import stat
import subprocess
import sys
import textwrap
from pathlib import Path

import msgspec
import pytest

from otobotctl.agent import files
from otobotctl.agent.kinds import file
from otobotctl.agent.run import Run, StepError
from otobotctl.plan.kinds.file import FileSpec

OWNER, GROUP = files.me()


def run():
    return Run(lambda line: None)


def spec(path, content="new\n", mode="0640", **more):
    return FileSpec(path=str(path), content=content, mode=mode, owner=OWNER, group=GROUP, **more)


def converge(wanted):
    """Apply over the wire and return what still differs."""
    file.apply(msgspec.json.decode(msgspec.json.encode(wanted.wire())), run())
    return wanted.compare(file.probe(wanted.question()))


def litter(folder):
    return sorted(path.name for path in folder.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("before", [None, "old\n"])
def test_apply_then_probe_matches(tmp_path, before):
    """What apply wrote is what compare wants, from nothing or from another content; nothing is left beside it."""
    path = tmp_path / "motd"
    if before is not None:
        path.write_text(before)
    wanted = spec(path)
    assert wanted.compare(file.probe(wanted.question())) != ()
    assert converge(wanted) == ()
    assert path.read_text() == "new\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert litter(tmp_path) == []


def test_bytes_that_are_no_text(tmp_path):
    """Base64 content arrives byte for byte."""
    data = bytes(range(256))
    wanted = FileSpec(
        path=str(tmp_path / "blob"), content_base64=base64.b64encode(data).decode(), owner=OWNER, group=GROUP
    )
    assert converge(wanted) == ()
    assert (tmp_path / "blob").read_bytes() == data


def test_same_content_keeps_the_inode(tmp_path):
    """A mode alone is changed in place: a bind mount or an open log stays what it was."""
    path = tmp_path / "motd"
    path.write_text("new\n")
    path.chmod(0o604)
    inode = path.stat().st_ino
    assert converge(spec(path)) == ()
    assert path.stat().st_ino == inode


def test_the_umask_does_not_matter(tmp_path):
    """The mode is what was asked for, whatever the process's umask."""
    previous = os.umask(0o077)
    try:
        assert converge(spec(tmp_path / "motd", mode="0666")) == ()
    finally:
        os.umask(previous)


def test_absent(tmp_path):
    """An unwanted file is removed once; a second time is nothing to do."""
    path = tmp_path / "motd"
    path.write_text("x")
    wanted = FileSpec(path=str(path), state="absent")
    assert converge(wanted) == ()
    assert converge(wanted) == ()
    assert not path.exists()


def test_text_is_sent_back_only_when_it_is_needed(tmp_path):
    """Not for a match, a secret, a large file or bytes that are no text."""
    path = tmp_path / "motd"
    path.write_text("old\n")
    assert file.probe(spec(path).question())["text"] == "old\n"
    assert "text" not in file.probe(spec(path, content="old\n").question())
    assert "text" not in file.probe(spec(path, secret=True).question())
    path.write_bytes(b"\xff\xfe")
    assert "text" not in file.probe(spec(path).question())
    path.write_bytes(b"a" * (file.TEXT_LIMIT_BYTES + 1))
    assert "text" not in file.probe(spec(path).question())


@pytest.mark.parametrize("kind", ["symlink", "directory", "other"])
def test_what_is_no_file_is_refused(tmp_path, kind):
    """A symlink, a directory or a FIFO stays, and the message says what it is."""
    path = tmp_path / "motd"
    {"symlink": lambda: path.symlink_to("x"), "directory": path.mkdir, "other": lambda: os.mkfifo(path)}[kind]()
    assert spec(path).compare(file.probe(spec(path).question()))[0].what == "type"
    with pytest.raises(StepError, match=f"is a {kind}, not a file"):
        file.apply(spec(path).wire(), run())
    assert file.probe({"path": str(path)})["type"] == kind


def test_a_missing_parent_says_what_to_do(tmp_path):
    """The directory is not invented with some mode of ours."""
    with pytest.raises(StepError, match="add a directory step before"):
        file.apply(spec(tmp_path / "a/b").wire(), run())


def test_an_unknown_owner_says_what_to_do(tmp_path):
    """Nothing is written for a user that does not exist."""
    wanted = FileSpec(path=str(tmp_path / "a"), content="x", owner="nobody_like_this")
    with pytest.raises(StepError, match="there is no user nobody_like_this"):
        file.apply(wanted.wire(), run())
    assert list(tmp_path.iterdir()) == []


def test_the_new_file_is_private_from_its_first_byte(tmp_path, monkeypatch):
    """While its content is written, the file beside the target is 0600, whatever mode it will have."""
    seen = []
    original = files.set_attributes

    def before_attributes(descriptor, mode, ids):
        status = (tmp_path / files.beside_name("env")).stat()
        seen.append((stat.S_IMODE(status.st_mode), status.st_size))
        original(descriptor, mode, ids)

    monkeypatch.setattr(files, "set_attributes", before_attributes)
    file.apply(spec(tmp_path / "env", content="SECRET=1\n", mode="0644").wire(), run())
    assert seen == [(0o600, 9)]


def test_a_full_disk_leaves_the_old_file_and_no_litter(tmp_path):
    """The write fails with the system's own words; the old content stands."""
    path = tmp_path / "motd"
    path.write_text("old\n")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))  # the kernel refuses the 4097th byte, as a full disk does
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        with pytest.raises(StepError, match="File too large; what was there is unchanged"):
            file.apply(spec(path, content="x" * 100_000).wire(), run())
    finally:
        signal.signal(signal.SIGXFSZ, previous)
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_text() == "old\n"
    assert litter(tmp_path) == []


def test_a_kill_before_the_rename_leaves_the_old_content(tmp_path):
    """Killed between write and rename: the old file stands, the half is private, and a rerun clears it."""
    path = tmp_path / "motd"
    path.write_text("old\n")
    program = textwrap.dedent(
        """
        import json, os, signal, sys
        from otobotctl.agent.kinds import file
        from otobotctl.agent.run import Run
        os.replace = lambda *a, **k: os.kill(os.getpid(), signal.SIGKILL)
        file.apply(json.loads(sys.stdin.read()), Run(print))
        """
    )
    wire = msgspec.json.encode(spec(path).wire())
    done = subprocess.run([sys.executable, "-c", program], input=wire, cwd=Path.cwd(), check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_text() == "old\n"
    (half,) = litter(tmp_path)
    assert (tmp_path / half).stat().st_uid == os.geteuid()
    assert converge(spec(path)) == ()
    assert litter(tmp_path) == []


def test_a_planted_name_beside_the_file_is_not_followed(tmp_path):
    """A symlink waiting under the hidden name is dropped, and what it points to is untouched."""
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (tmp_path / files.beside_name("motd")).symlink_to(victim)
    assert converge(spec(tmp_path / "motd")) == ()
    assert victim.read_text() == "mine"


def test_a_long_name(tmp_path):
    """The hidden name fits where the file's own name is as long as a name can be, in several bytes a letter too."""
    assert converge(spec(tmp_path / ("é" * 127))) == ()


def test_the_repr_of_a_spec_hides_its_content():
    """Neither a trace nor a failing assertion shows what the file holds."""
    wanted = spec("/etc/env", content="hunter2", secret=True)
    assert "hunter2" not in repr(wanted)
    assert "hunter2" not in repr(wanted.compare({"type": "absent"}))


def test_an_owner_can_be_a_number(tmp_path):
    """Decimal user and group numbers are taken as they are where no such name exists."""
    assert (files.uid_of("54321"), files.gid_of("54321")) == (54321, 54321)
    assert files.user_name(54321) == "54321"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_owner_and_group_are_given(tmp_path):
    """A file for somebody else is theirs, by number where they have no name."""
    wanted = FileSpec(path=str(tmp_path / "a"), content="x", owner="54321", group="54322", mode="0640")
    assert converge(wanted) == ()
    assert ((tmp_path / "a").stat().st_uid, (tmp_path / "a").stat().st_gid) == (54321, 54322)
