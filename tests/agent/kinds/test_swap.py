"""Swap for real, where this machine lets its root have some; and what is told where it does not."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import msgspec
import pytest

from otobotctl.agent import files
from otobotctl.agent.kinds import swap
from otobotctl.agent.run import Run, StepError
from otobotctl.plan.kinds.swap import SwapSpec

POLICY = {"size_mb": 8, "below_memory_mb": 1 << 20, "free_mb": 9}  # so small a machine is every one
KEPT = "# by hand\nUUID=1 / ext4 defaults 0 1"  # its last line does not end


@pytest.fixture
def table(tmp_path, monkeypatch):
    """An /etc/fstab of the test's own, with a line in it."""
    path = tmp_path / "fstab"
    path.write_text(KEPT)
    path.chmod(0o640)
    monkeypatch.setattr(swap, "FSTAB", str(path))
    return path


@pytest.fixture
def real(tmp_path, monkeypatch):
    """Where a file can be swapped to, tried by the programs alone; skips where the kernel lets nobody in here do that.

    A virtual machine that was made of a container's image has the marks of one: they are not asked.
    """
    if os.geteuid():
        pytest.skip("no swap here: needs root")
    monkeypatch.setattr(swap, "is_container", lambda: False)
    tried = tmp_path / "tried"
    with tried.open("wb") as stream:
        stream.write(bytes(1 << 20))
        os.fsync(stream.fileno())
    tried.chmod(0o600)
    for argv in (["mkswap", tried], ["swapon", tried]):
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"no swap here: {argv[0]}: {done.stderr.strip()}")
    subprocess.run(["swapoff", tried], check=True)
    path = tmp_path / "folder" / "swapfile"
    path.parent.mkdir()
    yield path
    if str(path) in swap.in_use():
        subprocess.run(["swapoff", path], check=True)


def changes(spec):
    return [change.what for change in spec.compare(swap.probe(spec.question()))]


def policy(path, **more):
    return msgspec.convert({"path": str(path), **POLICY, **more}, SwapSpec)


def test_swap_is_made_kept_and_taken_away(real, table, monkeypatch):
    """As the kernel itself lists it; a second look finds nothing to do, and what was in fstab before is there after."""
    others = sorted(swap.in_use())
    monkeypatch.setattr("otobotctl.agent.kinds.swap.in_use", lambda look=swap.in_use: sorted({*look()} - {*others}))
    spec, said = policy(real), []
    assert changes(spec) == ["swap"]
    swap.apply(spec.wire(), Run(said.append))
    line = next(line.split() for line in Path("/proc/swaps").read_text().splitlines() if line.startswith(f"{real} "))
    assert line[1] == "file"
    assert int(line[2]) == 8 * 1024 - os.sysconf("SC_PAGE_SIZE") // 1024  # its first page is the header
    assert real.stat().st_mode & 0o777 == 0o600
    assert table.read_text() == f"{KEPT}\n{real} none swap sw 0 0\n"
    assert table.stat().st_mode & 0o777 == 0o640
    assert changes(spec) == []
    swap.apply(spec.wire(), Run(said.append))  # a rerun after a kill
    assert table.read_text().count(str(real)) == 1

    subprocess.run(["swapoff", real], check=True)  # somebody's hand
    assert changes(spec) == ["swap"]
    swap.apply(spec.wire(), Run(said.append))
    assert changes(spec) == []
    table.write_text(KEPT)
    assert changes(spec) == ["/etc/fstab"]
    swap.apply(spec.wire(), Run(said.append))
    assert changes(spec) == []

    gone = policy(real, state="absent")
    assert changes(gone) == ["state"]
    swap.apply(gone.wire(), Run(said.append))
    assert str(real) not in Path("/proc/swaps").read_text()
    assert not real.exists()
    assert table.read_text() == f"{KEPT}\n"
    assert changes(gone) == []
    swap.apply(gone.wire(), Run(said.append))


def test_what_a_killed_run_left_is_made_anew(real, table):
    """Half a file, which nothing swaps to, is no swap."""
    real.write_bytes(b"half")
    real.chmod(0o644)
    swap.apply(policy(real).wire(), Run(lambda _line: None))
    assert str(real) in swap.in_use()
    assert real.stat().st_mode & 0o777 == 0o600


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Files belong to whoever runs the test."""
    monkeypatch.setattr(files, "uid_of", lambda _name: os.getuid())
    monkeypatch.setattr(files, "gid_of", lambda _name: os.getgid())


class Refusing(Run):
    """A kernel that takes no swap file."""

    def __init__(self):
        super().__init__(lambda _line: None)
        self.ran = []

    def command(self, argv, **_more):
        self.ran.append(argv[0])
        if argv[0] == "swapon":
            raise StepError("swapon ended with 255: Operation not permitted")
        return ""


def test_a_kernel_that_refuses_leaves_nothing(tmp_path, table, own):
    """Neither a file that fills the disk nor a line that would stop the next start."""
    path, run = tmp_path / "swapfile", Refusing()
    with pytest.raises(StepError, match="not permitted"):
        swap.apply(policy(path).wire(), run)
    assert run.ran == ["mkswap", "swapon"]
    assert not path.exists()
    assert table.read_text() == KEPT


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path, table, own, monkeypatch):
    """The error names the file."""

    def full(_descriptor, _data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StepError, match="swapfile: No space left"):
        swap.apply(policy(tmp_path / "swapfile").wire(), Refusing())
    monkeypatch.undo()
    assert not (tmp_path / "swapfile").exists()


def test_a_directory_in_its_place_is_refused(tmp_path, table, own):
    """Nothing of it is removed."""
    (tmp_path / "swapfile").mkdir()
    with pytest.raises(StepError, match="is a directory"):
        swap.apply(policy(tmp_path / "swapfile").wire(), Refusing())
    assert (tmp_path / "swapfile").is_dir()


def test_a_kernel_without_swap_has_none(tmp_path, table, monkeypatch):
    """And a machine without an fstab has no line in it."""
    monkeypatch.setattr(swap, "SWAPS", str(tmp_path / "none"))
    monkeypatch.setattr(swap, "FSTAB", str(tmp_path / "none"))
    facts = swap.probe({"path": str(tmp_path / "swapfile")})
    assert (facts["active"], facts["others"], facts["listed"]) == (False, [], False)
    assert facts["_memory_bytes"] > 0
    assert facts["_free_bytes"] > 0
