"""The way into a host: its address, its keys, and ssh as an operator would use it."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

from tests.lab import base
from tests.lab.shell import run


class Door:
    """What a test needs to reach a server over SSH."""

    port = 22
    user = base.USER
    address: str
    address6 = ""
    root: Path
    key: Path
    known_hosts: Path
    """An OpenSSH file that pins the host's keys under its addresses."""

    def host_keys(self) -> tuple[str, ...]:
        """Return the host's public keys, `type base64` each."""
        files = sorted((self.root / "etc/ssh").glob("ssh_host_*_key.pub"))
        return tuple(" ".join(file.read_text().split()[:2]) for file in files)

    def new_host_keys(self) -> None:
        """Give the host new keys, as a reinstalled server has; sshd serves them from its next start on."""
        for kind in ("ed25519", "ecdsa"):
            file = self.root / f"etc/ssh/ssh_host_{kind}_key"
            file.unlink(missing_ok=True)
            run("ssh-keygen", "-q", "-t", kind, "-N", "", "-C", "host", "-f", file)
        names = ",".join(filter(None, (self.address, self.address6)))
        self.known_hosts.write_text("".join(f"{names} {each}\n" for each in self.host_keys()))

    def ssh_argv(self, *, user: str | None = None) -> list[str]:
        """Return the ssh command up to the host's name, independent of this machine's own ssh configuration."""
        options = ["-F", "none", "-oBatchMode=yes", "-oConnectTimeout=10", "-oIdentitiesOnly=yes", "-oLogLevel=ERROR"]
        where = ["-i", str(self.key), f"-oUserKnownHostsFile={self.known_hosts}", "-p", str(self.port)]
        return ["ssh", *options, *where, f"{user or self.user}@{self.address}"]

    def ssh(
        self,
        command: str,
        check: bool = True,
        input: str | bytes | None = None,  # noqa: A002  the name subprocess has for it
        *,
        user: str | None = None,
        timeout_s: float = 300,
    ) -> subprocess.CompletedProcess[str]:
        """Log in and run a line of shell; output comes back as text.

        Raises:
            LabError: it failed (unless `check` is false), or took longer than `timeout_s`.
        """
        return run(*self.ssh_argv(user=user), command, check=check, stdin=input, timeout_s=timeout_s)

    def answers(self) -> bool:
        """Return whether sshd greets: a cheap look before a whole ssh client, asked many times while a host boots."""
        try:
            with socket.create_connection((self.address, self.port), 1) as connection:
                connection.settimeout(2)
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False
