"""A host: a Debian server in a systemd-nspawn container, with an address, a real sshd and a power switch."""

from __future__ import annotations

import contextlib
import json
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tests.lab import base, cgroups, pool, processes
from tests.lab.door import Door
from tests.lab.faults import Faults
from tests.lab.shell import LabError, run, until
from tests.lab.slot import Slot

# Never all of them: with CAP_SYS_TIME a host's `timedatectl` moves this machine's clock.
# systemd-nspawn's default set and these are enough for a Docker inside.
_CAPABILITIES = "CAP_NET_ADMIN,CAP_IPC_LOCK,CAP_BPF"

_ENVIRONMENT = ("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root", "LANG=C.UTF-8")

# Exit 133 of systemd-nspawn means that the host asked for a reboot. `ip netns exec` would hide the cgroups.
_SUPERVISOR = """#!/bin/sh
while :; do
  ( for group in {groups}; do echo 0 > "$group/cgroup.procs"; done
    exec nsenter --net=/run/netns/{namespace} systemd-nspawn --quiet --directory={root} --machine={machine} --boot \\
      --register=no --keep-unit --network-bridge={bridge} --resolv-conf=off --link-journal=no --timezone=off --console=read-only \\
      --capability={capabilities} --system-call-filter='@keyring bpf' --rlimit=RLIMIT_NOFILE=524288 )
  code=$?
  [ $code = 133 ] || exit $code
done
"""


@dataclass
class State:
    """What the next lab must know of a host to remove it, were this one killed."""

    name: str
    root: str
    pid: int = 0
    start: str = ""

    def save(self, path: Path) -> None:
        part = path.with_suffix(".part")
        part.write_text(json.dumps(asdict(self)))
        part.rename(path)


class Host(Faults, Door):
    """One server. `.address .address6 .port .user .key .known_hosts` say how to reach it; it is up when you get it."""

    def __init__(self, slot: Slot, index: int, root: Path, hostname: str, registry_names: Sequence[str] = ()) -> None:
        self.slot, self.index, self.root, self.hostname = slot, index, root, hostname
        self.name = f"h{index}"
        self.machine = slot.machine(self.name)
        self.address = f"{slot.prefix}.{index}"
        self.address6 = f"{slot.prefix6}:{index:x}"
        self.key = base.key()
        self.known_hosts = slot.directory / f"{self.name}.known_hosts"
        self.group = f"{slot.tag}/{self.name}"
        self._registry_names = registry_names
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._sessions_before = 0
        self.of_one_test = False  # it goes when its test ends

    # ------------------------------------------------------------ life
    def create(self, base_name: str) -> None:
        """Make the host's disk from a base and give it an identity of its own."""
        source = pool.Pool.find(base_name)
        if source is None:
            raise LabError(f"no base {base_name}; run scripts/lab-setup")
        self.slot.directory.mkdir(parents=True, exist_ok=True)
        State(self.name, str(self.root)).save(self._state)
        pool.delete(self.root)
        pool.snapshot(source, self.root)
        names = [f"{self.slot.registry} {' '.join(self._registry_names)}"] if self._registry_names else []
        lines = ["127.0.0.1 localhost", f"127.0.1.1 {self.hostname}", "::1 localhost", *names]
        base.put(self.root, "/etc/hosts", "\n".join(lines) + "\n")
        base.put(self.root, "/etc/hostname", f"{self.hostname}\n")
        base.put(
            self.root,
            "/etc/systemd/network/10-host0.network",
            f"[Match]\nName=host0\n[Network]\nAddress={self.address}/24\nAddress={self.address6}/64\n"
            f"Gateway={self.slot.gateway}\nLinkLocalAddressing=ipv6\nIPv6AcceptRA=no\n"
            f"[Route]\nGateway={self.slot.prefix6}:1\nDestination=fd10:204:{self.slot.number}::/64\n",
        )
        self.new_host_keys()

    def boot(self, timeout_s: float = 120) -> None:
        """Switch on and wait for a login."""
        if self.running():
            raise LabError(f"{self.machine}: is on already")
        self._reap()
        groups = " ".join(shlex.quote(str(group)) for group in cgroups.make(self.group))
        script = self.slot.directory / f"{self.name}.sh"
        script.write_text(
            _SUPERVISOR.format(
                groups=groups, namespace=self.slot.namespace, root=self.root, machine=self.machine,
                bridge=self.slot.bridge, capabilities=_CAPABILITIES,
            )
        )  # fmt: skip
        with self.log.open("ab") as log:
            self._supervisor = subprocess.Popen(
                ["sh", script], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        pid = self._supervisor.pid
        State(self.name, str(self.root), pid, processes.started(pid) or "").save(self._state)
        self.wait_for_login(timeout_s=timeout_s)

    def running(self) -> bool:
        """Return whether the host is on."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def power_cut(self) -> None:
        """Pull the plug: nothing in the host gets a chance to shut down."""
        if self._supervisor is not None:
            # The supervisor first, so that nothing starts again.
            self._supervisor.kill()
        cgroups.kill(cgroups.directories(self.group).values())
        self._reap()
        unplug(self.slot, self.machine, self.root)

    def shut_down(self, timeout_s: float = 90) -> None:
        """Switch off in an orderly way."""
        self.inside("systemctl", "poweroff", check=False)
        until(lambda: not self.running(), f"{self.machine}: shut down", timeout_s)
        self.power_cut()

    def destroy(self) -> None:
        """Remove the host and everything it left."""
        self.power_cut()
        remove_remains(self.slot, State(self.name, str(self.root)))

    def restore(self, disk: Path, known_hosts: str, *, on: bool) -> None:
        """Give the host a copy of `disk`, also one that was destroyed, and switch it on if it is to be `on`."""
        self.power_cut()
        until(lambda: _deleted(self.root), f"{self.root}: delete", 120, 0.2)
        pool.snapshot(disk, self.root)
        self.known_hosts.write_text(known_hosts)
        State(self.name, str(self.root)).save(self._state)
        if on:
            self.boot()

    def _reap(self) -> None:
        if self._supervisor is not None:
            self._supervisor.wait(30)
            self._supervisor = None

    # ------------------------------------------------------------ doors
    @property
    def log(self) -> Path:
        """What systemd-nspawn said; the host's own log is its journal."""
        return self.slot.directory / f"{self.name}.log"

    @property
    def _state(self) -> Path:
        return self.slot.directory / f"{self.name}.json"

    def inside(self, *argv: str, check: bool = True, timeout_s: float = 120) -> subprocess.CompletedProcess[str]:
        """Run a program in the host as root without a login: no sshd, no session, no network is needed."""
        words = ("nsenter", "--target", self.leader(), "--mount", "--uts", "--ipc", "--net", "--pid", "--wd=/")
        return run(*words, "env", "-i", *_ENVIRONMENT, *argv, check=check, timeout_s=timeout_s)

    def pids(self, unit: str = "", *, name: str = "") -> list[int]:
        """Return this machine's numbers of the host's processes, or of one unit's, or of those with that short name."""
        return [pid for pid in cgroups.pids(self.group, unit) if not name or processes.comm(pid) == name]

    def leader(self) -> int:
        """Return this machine's number of the host's process 1."""
        found = next((pid for pid in self.pids() if processes.is_init(pid) and processes.comm(pid) == "systemd"), None)
        if found is None:
            raise LabError(f"{self.machine}: is off")
        return found

    def wait_for_login(self, timeout_s: float = 120, *, other_than: str = "") -> str:
        """Wait until a login works, in another boot than `other_than`; return the boot's id."""

        def attempt() -> str | None:
            if self._supervisor is not None and self._supervisor.poll() is not None:
                said = self.log.read_text(errors="replace")[-2000:]
                raise LabError(f"{self.machine}: left with {self._supervisor.returncode}\n{said}")
            if not self.answers():
                return None
            done = self.ssh("cat /proc/sys/kernel/random/boot_id", check=False, timeout_s=60)
            return done.stdout.strip() if done.returncode == 0 and done.stdout.strip() != other_than else None

        return until(attempt, f"{self.machine} ({self.address}): login", timeout_s, 0.1)

    # ------------------------------------------------------------ sessions
    def mark_sessions(self) -> None:
        """Count from here."""
        self._sessions_before = self._all_sessions()

    def sessions(self) -> int:
        """Return how many programs were run by ssh since the mark, counted in sshd's own log."""
        return self._all_sessions() - self._sessions_before

    def _all_sessions(self) -> int:
        self.inside("journalctl", "--sync")
        authentication = ("SYSLOG_FACILITY=4", "+", "SYSLOG_FACILITY=10")
        log = self.inside("journalctl", "--quiet", "--no-pager", "--output=cat", *authentication).stdout
        return sum(line.startswith("Starting session:") for line in log.splitlines())


def unplug(slot: Slot, machine: str, root: Path) -> None:
    """Remove what a container that was killed leaves outside its disk, and what would keep it from starting again."""
    run("ip", "-n", slot.namespace, "link", "del", f"vb-{machine}", check=False)
    locks = Path("/run/systemd/nspawn/locks")
    with contextlib.suppress(OSError):
        status = root.stat()
        (locks / f"inode-{status.st_dev}:{status.st_ino}").unlink(missing_ok=True)
    for path in locks.glob(f"*{machine}"):
        path.unlink(missing_ok=True)
    for name in ("propagate", "unix-export"):
        shutil.rmtree(f"/run/systemd/nspawn/{name}/{machine}", ignore_errors=True)


def remove_remains(slot: Slot, state: State) -> None:
    """Remove a host, of this lab or of a killed one, by its recorded state."""
    if state.pid and processes.alive(state.pid, state.start):
        processes.kill([state.pid])
    groups = cgroups.directories(f"{slot.tag}/{state.name}").values()
    cgroups.kill(groups)
    root = Path(state.root)
    unplug(slot, slot.machine(state.name), root)
    until(lambda: _deleted(root), f"{root}: delete", 120, 0.2)
    cgroups.remove(groups)
    for suffix in ("sh", "log", "known_hosts", "json"):
        (slot.directory / f"{state.name}.{suffix}").unlink(missing_ok=True)


def _deleted(root: Path) -> bool:
    """Whether the disk is gone; the kernel may hold it for a moment after the last process."""
    with contextlib.suppress(LabError, OSError):
        pool.delete(root)
        return True
    return False
