"""The pool: one btrfs file system in a sparse file, shared by all labs; a host is a snapshot of a base in it, made in no time."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path

from tests.lab.shell import LabError, output, quietly, run
from tests.lab.slot import home, locked

_SIZE = "30G"
_KEPT = 3


def mountpoint() -> Path:
    return home() / "pool"


class Pool:
    """The mounted pool. The first lab mounts it, the last one takes it away; between them it is shared."""

    def __init__(self) -> None:
        self._descriptor: int | None = None

    def open(self) -> None:
        """Mount the pool, making it the first time."""
        home().mkdir(parents=True, exist_ok=True)
        with locked(home() / "mount.lock"):
            if not os.path.ismount(mountpoint()):
                self._mount()
            self._descriptor = os.open(home() / "pool.lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._descriptor, fcntl.LOCK_SH)

    def _mount(self) -> None:
        file = home() / "pool.btrfs"
        mountpoint().mkdir(exist_ok=True)
        if not file.exists():
            part = file.with_suffix(".part")
            part.unlink(missing_ok=True)
            run("truncate", "-s", _SIZE, part)
            run("mkfs.btrfs", "-q", "-m", "single", part)
            part.rename(file)
        run("mount", "-o", "loop,noatime,discard", file, mountpoint())

    def close(self) -> None:
        """Let go of the pool; without other users its mount and loop device go away."""
        if self._descriptor is None:
            return
        with locked(home() / "mount.lock"):
            os.close(self._descriptor)
            self._descriptor = None
            unmount_if_unused()

    @staticmethod
    def find(base: str) -> Path | None:
        """Return the finished base of that name, or None."""
        path = mountpoint() / f"base-{base}"
        return path if path.exists() else None

    @staticmethod
    def scratch(name: str) -> Path:
        """Return the place of a subvolume that is being made; what was there is gone."""
        path = mountpoint() / f"new-{name}"
        delete(path)
        return path

    @staticmethod
    def freeze(tree: Path, base: str) -> Path:
        """Keep `tree` as the read-only base `base`; only now does it exist, so a build that was killed leaves none."""
        path = mountpoint() / f"base-{base}"
        delete(path)
        run("sync", "-f", tree)
        run("btrfs", "subvolume", "snapshot", "-r", tree, path)
        _forget_old(base)
        return path


def unmount_if_unused() -> None:
    """Unmount the pool when no lab has it open. The caller holds mount.lock."""
    descriptor = os.open(home() / "pool.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.ismount(mountpoint()):
            run("umount", mountpoint())
    except BlockingIOError:
        pass
    finally:
        os.close(descriptor)


def create(path: Path) -> None:
    """Make an empty subvolume."""
    run("btrfs", "subvolume", "create", path)


def snapshot(base: Path, path: Path) -> None:
    """Make a writable copy of `base`."""
    run("btrfs", "subvolume", "snapshot", base, path)


def delete(path: Path) -> None:
    """Delete a subvolume and those that were made inside it (Docker does that)."""
    if not path.exists():
        return
    listed = output("btrfs", "subvolume", "list", "-o", path, check=False)
    inner = [mountpoint() / line.split(" path ", 1)[1] for line in listed.splitlines()]
    for each in sorted(inner, key=lambda path: len(path.parts), reverse=True):
        delete(each)
    quietly("btrfs", "property", "set", "-ts", path, "ro", "false")
    if not quietly("btrfs", "subvolume", "delete", path):
        shutil.rmtree(path, ignore_errors=True)
    if path.exists():
        raise LabError(f"{path}: cannot be deleted")


def _forget_old(base: str) -> None:
    """Keep the newest bases of a kind: other checkouts of the project may use one with other inputs."""
    kind = base.rsplit("-", 1)[0]
    for path in sorted(mountpoint().glob(f"base-{kind}-*"), key=_made)[:-_KEPT]:
        delete(path)


def _made(path: Path) -> str:
    """When a subvolume was made, as text that sorts by time."""
    return output("btrfs", "subvolume", "show", path).split("Creation time:")[1].split("\n")[0].strip()
