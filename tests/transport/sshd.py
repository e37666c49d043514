"""A real sshd on a loopback port, with its own keys, configuration and log; the tests end it by its pid."""

from __future__ import annotations

import getpass
import os
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager
from pathlib import Path

from otobotctl.transport.hostkeys import HostKey
from otobotctl.transport.target import Target
from tests.waiting import until

PATIENCE_S = 60.0


def program() -> str | None:
    """Where sshd is; it must be started by its full path."""
    return shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def free_port(address="127.0.0.1"):
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return probe.getsockname()[1]


def new_key(path: Path, kind: str = "ed25519") -> HostKey:
    subprocess.run(("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(path)), check=True, stdin=subprocess.DEVNULL)
    shown, blob, *_ = path.with_suffix(".pub").read_text().split()
    return HostKey(shown, blob)


class Sshd:
    """A running sshd: `.address .port .user .key .host_key .log()`."""

    def __init__(self, directory: Path, address: str = "127.0.0.1") -> None:
        self.directory = directory
        self.address = address
        self.user = getpass.getuser()
        self.key = directory / "user"
        self.host_key = new_key(directory / "host")
        self.second_host_key = new_key(directory / "host_ecdsa", "ecdsa")
        new_key(self.key)
        (directory / "authorized_keys").write_bytes((directory / "user.pub").read_bytes())
        if os.getuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd separates its privileges there
        self._log = directory / "log"
        self._start()

    def _start(self) -> None:
        for _ in range(5):  # another process may take the port in between
            self.port = free_port(self.address)
            self._write_config()
            with self._log.open("ab") as log:
                argv = (program(), "-D", "-e", "-f", str(self.directory / "config"))
                self.process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
            until(lambda: "Server listening" in self.log() or self.process.poll() is not None, "sshd listens")
            if self.process.poll() is None:
                return
        raise AssertionError(self.log())

    def _write_config(self) -> None:
        d = self.directory
        (d / "config").write_text(f"""
ListenAddress {self.address}
Port {self.port}
HostKey {d}/host
HostKey {d}/host_ecdsa
AuthorizedKeysFile {d}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
PermitRootLogin yes
MaxStartups 100
LogLevel VERBOSE
UseDNS no
""")

    def log(self) -> str:
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def logins(self) -> int:
        return self.log().count("Accepted publickey")

    def sessions(self) -> int:
        return len(re.findall(r"Starting session: command", self.log()))

    def target(self, known_hosts: Path, name: str = "vps-1", **changes) -> Target:
        fields = {"address": self.address, "user": self.user, "port": self.port, "identity": self.key} | changes
        return Target(name, known_hosts=known_hosts, **fields)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@contextmanager
def running(directory: Path, address: str = "127.0.0.1"):
    directory.mkdir(parents=True, exist_ok=True)
    server = Sshd(directory, address)
    try:
        yield server
    finally:
        server.stop()
