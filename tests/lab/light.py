"""The fallback where containers cannot be had: a Debian tree with its own sshd on a loopback address, in private namespaces.

Real: ssh, sudo, apt and dpkg, users, files. Not there: systemd, Docker, reboots, a firewall of its own. It shares this
machine's network, so its sshd runs without the capabilities that would reach this machine.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
from pathlib import Path

from tests.lab import base, processes
from tests.lab.door import Door
from tests.lab.shell import LabError, until
from tests.lab.slot import home, locked

_TOOLS = ["mmdebstrap", "unshare", "setpriv", "chroot", "ssh", "ssh-keygen", "openssl"]
# pdeathsig: should this process be killed, so is the host, and its mounts go with its namespaces.
_ISOLATED = [
    "setpriv",
    "--pdeathsig",
    "KILL",
    "unshare",
    "--mount",
    "--pid",
    "--uts",
    "--ipc",
    "--fork",
    "--kill-child",
]
_INIT = Path(__file__).parent / "files" / "light.sh"


def missing() -> str:
    """Return why there can be no light host here, empty when there can."""
    if os.geteuid():
        return "needs root"
    absent = [tool for tool in _TOOLS if not shutil.which(tool)]
    if absent:
        return f"needs {', '.join(absent)}; run scripts/lab-setup"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "needs overlayfs"
    return ""


def _directory() -> Path:
    return home() / "light"


def tree() -> Path:
    """Return the read-only Debian below all light hosts, unpacked when it is missing."""
    path = _directory() / f"base-{base.bare_digest()}"
    with locked(home() / "light.lock"):
        if not path.exists():
            part = _directory() / "part"
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir(parents=True)
            base.unpack(part)
            # Packages start no service: there is no systemd to start it.
            base.put(part, "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n", 0o755)
            for old in _directory().glob("base-*"):
                shutil.rmtree(old, ignore_errors=True)
            part.rename(path)
    return path


class LightHost(Door):
    """A light host: `.address .port .user .key .known_hosts .ssh()`; it dies with the process that started it."""

    def __init__(self) -> None:
        self._lower = tree()
        _remove_abandoned()
        self.directory = _directory() / f"host-{os.getpid()}-{processes.started(os.getpid())}-{os.urandom(3).hex()}"
        self.root = self.directory / "keys"
        self.address = "127.0.0.1"
        self.port = _free_port()
        self.key = base.key()
        self.known_hosts = self.directory / "known_hosts"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, timeout_s: float = 60) -> None:
        """Mount the tree, start sshd and wait for it."""
        for name in ("upper", "work", "root", "keys/etc/ssh"):
            (self.directory / name).mkdir(parents=True)
        self.new_host_keys()
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*_ISOLATED, "sh", _INIT, self._lower, self.directory, str(self.port)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        until(self._up, f"light host on port {self.port}", timeout_s)

    def new_host_keys(self) -> None:
        """Make the host's keys; OpenSSH writes a host on another port than 22 in brackets."""
        super().new_host_keys()
        lines = "".join(f"[{self.address}]:{self.port} {each}\n" for each in self.host_keys())
        self.known_hosts.write_text(lines)

    def _up(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise LabError(f"light host: left with {self._process.returncode}\n{(self.directory / 'log').read_text()}")
        return self.answers()

    def pid_namespace(self) -> str:
        """What all of its processes have in common, as /proc/PID/ns/pid names it."""
        assert self._process is not None
        return str(Path(f"/proc/{self._process.pid}/ns/pid_for_children").readlink())

    def destroy(self) -> None:
        """End it and remove what it wrote; safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None
        until(lambda: _removed(self.directory), f"{self.directory}: delete", 120, 0.1)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _removed(directory: Path) -> bool:
    """Whether it is gone; the kernel holds an overlay for a moment after its last process."""
    with contextlib.suppress(OSError):
        if directory.exists():
            shutil.rmtree(directory)
    return not directory.exists()


def _remove_abandoned() -> None:
    for directory in _directory().glob("host-*"):
        _host, pid, start, _random = directory.name.split("-")
        if not processes.alive(int(pid), start):
            _removed(directory)
