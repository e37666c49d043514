"""One lab: a slot, a network, the pool and the hosts made in them; closing it leaves nothing behind."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.lab import base, bases, cgroups, network, pool, processes
from tests.lab import registry as registries
from tests.lab.host import Host, State, remove_remains
from tests.lab.reaper import Reaper
from tests.lab.shell import LabError
from tests.lab.slot import RUNTIME, SLOTS, Slot, home, locked, try_lock

_TOOLS = [
    "systemd-nspawn",
    "mmdebstrap",
    "mkfs.btrfs",
    "btrfs",
    "ip",
    "nsenter",
    "iptables",
    "ssh",
    "ssh-keygen",
    "openssl",
    "docker-registry",
    "npm",
]


def missing() -> str:
    """Return why there can be no lab here, empty when there can."""
    if os.geteuid():
        return "needs root"
    absent = [tool for tool in _TOOLS if not shutil.which(tool)]
    if absent:
        return f"needs {', '.join(absent)}; run scripts/lab-setup"
    if not Path("/etc/debian_version").exists():
        return "needs Debian or Ubuntu"
    return ""


class Lab:
    """A running lab; `make` gives hosts."""

    def __init__(self) -> None:
        self.pool = pool.Pool()
        self.hosts: list[Host] = []
        self._held: int | None = None
        self._registry: registries.Registry | None = None
        self._reaper: Reaper | None = None
        self._slot: Slot | None = None

    @property
    def slot(self) -> Slot:
        if self._slot is None:
            raise LabError("the lab is not open")
        return self._slot

    def open(self) -> None:
        """Take a slot, remove what killed labs left, and bring the network up."""
        self.pool.open()
        try:
            clear_abandoned()
            self._slot, self._held = _take_slot()
            self.slot.directory.mkdir(parents=True, exist_ok=True)
            groups = cgroups.directories(self.slot.tag).values()
            (self.slot.directory / "groups").write_text("\n".join(map(str, groups)))
            (self.slot.directory / "owner").write_text(f"{os.getpid()} {processes.started(os.getpid())}")
            (self.slot.directory / "home").write_text(str(home()))
            self._reaper = Reaper(self.slot)
            for stale in pool.mountpoint().glob(f"host-{self.slot.number}-*"):
                pool.delete(stale)
            network.up(self.slot)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Destroy the hosts and take everything away; safe to call twice."""
        for host in tuple(self.hosts):
            self.destroy(host)
        if self._registry is not None:
            self._registry.stop()
            self._registry = None
        if self._slot is not None:
            clear(self._slot)
            self._slot = None
        if self._held is not None:
            os.close(self._held)
            self._held = None
        self.pool.close()
        if self._reaper is not None:
            self._reaper.dismiss()
            self._reaper = None

    def make(self, kind: str = "bare", hostname: str = "", *, registry: bool = False) -> Host:
        """Return a new host that is up: `bare`, `docker`, or `warm` (Docker, images, and what every deploy installs); bases are built when missing.

        With `registry`, and for `warm`, image pulls go to the lab's registry under the names of the public ones.
        """
        known: dict[str, Callable[[], str]] = {
            "bare": base.bare,
            "docker": partial(bases.docker, self),
            "warm": partial(bases.warm, self),
        }
        name = known[kind]()
        if registry or kind == "warm":
            self.start_registry()
            return self.boot(name, hostname, registries.NAMES)
        return self.boot(name, hostname)

    def start_registry(self) -> None:
        """Serve the stand-in images; once is enough."""
        if self._registry is None:
            self._registry = registries.Registry(self.slot, bases.registry_storage(self), readonly=True)
            self._registry.start()

    def boot(self, name: str, hostname: str = "", registry_names: Sequence[str] = ()) -> Host:
        """Return a new host that is up, from the finished base `name`."""
        used = {host.index for host in self.hosts}
        index = next(number for number in range(10, 250) if number not in used)
        root = pool.mountpoint() / f"host-{self.slot.number}-{index}"
        host = Host(self.slot, index, root, hostname or f"lab{index}", registry_names)
        self.hosts.append(host)
        try:
            host.create(name)
            host.boot()
        except BaseException:
            self.destroy(host)
            raise
        return host

    @contextlib.contextmanager
    def host(self, kind: str) -> Iterator[Host]:
        """A new host, gone after: also when what a fixture does with it fails, so that its second try has another one."""
        made = self.make(kind)
        try:
            yield made
        finally:
            self.destroy(made)

    def destroy(self, host: Host) -> None:
        """Remove a host; one that was removed already is no error."""
        if host in self.hosts:
            host.destroy()
            self.hosts.remove(host)


def _take_slot() -> tuple[Slot, int]:
    for number in range(SLOTS):
        slot = Slot(number)
        held = try_lock(slot.lock)
        if held is None:
            continue
        if not network.taken(slot):
            return slot, held
        os.close(held)
    raise LabError(f"no free slot among {SLOTS}: other labs run, or 10.203.0.0/16 is in use here")


def clear_abandoned() -> None:
    """Remove what labs left that were killed: those whose directory is there and whose lock is free."""
    for number in range(SLOTS):
        slot = Slot(number)
        if not slot.directory.exists():
            continue
        held = try_lock(slot.lock)
        if held is None:
            continue
        try:
            clear(slot)
        finally:
            os.close(held)


def clear(slot: Slot) -> None:
    """Remove all that the slot's directory tells of. The caller holds the slot."""
    # As recorded: the killed lab may have lived below another cgroup than this process does.
    recorded = slot.directory / "groups"
    groups = [Path(line) for line in recorded.read_text().splitlines()] if recorded.exists() else []
    cgroups.kill(groups)
    for file in sorted(slot.directory.glob("h*.json")):
        remove_remains(slot, State(**json.loads(file.read_text())))
    network.down(slot)
    cgroups.remove(groups)
    shutil.rmtree(slot.directory, ignore_errors=True)


def unmount_abandoned() -> None:
    """Unmount a pool that a killed lab left mounted."""
    with locked(home() / "mount.lock"):
        pool.unmount_if_unused()


__all__ = ["RUNTIME", "Lab", "clear", "clear_abandoned", "missing", "unmount_abandoned"]
