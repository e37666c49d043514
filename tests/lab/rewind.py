"""A test of the lab that gets a second try begins it where the first one began: hosts' disks and operators' folders.

Modules share hosts, and a first try that failed half way leaves them changed: what a second one finds then says nothing.
What is kept is what a power cut would leave, so a host that is taken back boots from it, and its containers come up by
themselves.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tests.lab import pool
from tests.lab.shell import LabError, run, until

if TYPE_CHECKING:
    from tests.lab.host import Host
    from tests.lab.lab import Lab

_SETTLE_S = 300
_SETTLED = """systemctl is-enabled --quiet docker 2>/dev/null || exit 0
docker info >/dev/null 2>&1 && [ -z "$(docker ps --quiet --filter health=starting)" ]
"""


class Keeper(Protocol):
    """Somebody whose folder belongs to the state of the hosts: an operator with his fleet."""

    @property
    def folder(self) -> Path: ...


keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()


@dataclass
class _Kept:
    """A host's disk, and what is not on it."""

    host: Host
    disk: Path
    known_hosts: str
    was_on: bool

    def back(self, lab: Lab) -> None:
        if self.host not in lab.hosts:  # the test has destroyed it
            lab.hosts.append(self.host)
        self.host.restore(self.disk, self.known_hosts, on=self.was_on)


class Moment:
    """Hosts that outlive a test, and the folders of those who look after them, as they are when this is made."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._scratch = Path(tempfile.mkdtemp(prefix="lab-moment-"))
        # First the hosts, then what they may be writing to, such as a storage of backups: it may know more than they do.
        self._hosts = [self._keep(host) for host in lab.hosts if not host.of_one_test]
        self._folders = {each.folder: self._scratch / str(number) for number, each in enumerate(keepers)}
        for folder, copy in self._folders.items():
            run("cp", "--archive", folder, copy, check=False)  # a file that goes meanwhile is no error

    def _keep(self, host: Host) -> _Kept:
        disk = host.root.with_name(f"{host.root.name}-{self._scratch.name}")  # the next lab clears such names away
        pool.snapshot(host.root, disk)
        return _Kept(host, disk, host.known_hosts.read_text(), host.running())

    def back(self) -> None:
        """Take everything back; hosts that were made since go, those that were destroyed are there again."""
        ours = [kept.host for kept in self._hosts]
        for host in tuple(self._lab.hosts):
            if host not in ours and not host.of_one_test:
                self._lab.destroy(host)
        for folder, copy in self._folders.items():
            shutil.rmtree(folder, ignore_errors=True)
            run("cp", "--archive", copy, folder)
        for kept in self._hosts:
            kept.back(self._lab)
        for kept in self._hosts:
            _settle(kept.host)

    def forget(self) -> None:
        """Throw away what was kept."""
        for kept in self._hosts:
            pool.delete(kept.disk)
        shutil.rmtree(self._scratch, ignore_errors=True)


def _settle(host: Host) -> None:
    """Wait until no container is about to become healthy; one that never was is the test's own business."""
    if host.running():
        with contextlib.suppress(LabError):
            until(lambda: not host.inside("sh", "-c", _SETTLED, check=False).returncode, "containers", _SETTLE_S, 1)
