"""Storage that is not on the client's host: a REST server that only takes more, and an SFTP account, on the lab's bridge."""

from __future__ import annotations

import contextlib
import os
import shlex
import socket
import subprocess
from pathlib import Path

from tests.lab import cgroups
from tests.lab.shell import run, until
from tests.lab.slot import Slot

REST_PORT, SFTP_PORT = 8000, 2222
USER = "acme"
PASSWORD = "storage-0f4d1c77aa93"
_SSHD = """ListenAddress {address}:{port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PasswordAuthentication no
PermitRootLogin yes
ForceCommand internal-sftp -d {data}
Subsystem sftp internal-sftp
"""


class Storage:
    """Somebody else's machine: hosts of the lab reach it at `address`, and so does the operator. It dies with the lab."""

    def __init__(self, slot: Slot, folder: Path) -> None:
        """`folder` keeps the data: `rest/` and `sftp/`."""
        self._slot, self._folder = slot, folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self.address = slot.gateway
        self.rest, self.sftp = folder / "rest", folder / "sftp"
        for each in (self.rest, self.sftp):
            each.mkdir(parents=True, exist_ok=True)
        self.rest_repository = f"rest:http://{self.address}:{REST_PORT}/acme"
        self.sftp_repository = f"sftp://root@{self.address}:{SFTP_PORT}/{self.sftp}/acme"

    def start_rest(self, *more: str) -> None:
        """Serve `rest/`; append-only unless `more` words say otherwise by "--append-only=false"."""
        words = [
            "rclone",
            "serve",
            "restic",
            f"--addr={self.address}:{REST_PORT}",
            "--append-only",
            *more,
            str(self.rest),
        ]
        self._start("rest", words, REST_PORT, {"RCLONE_USER": USER, "RCLONE_PASS": PASSWORD, "HOME": str(self._folder)})

    def start_sftp(self) -> None:
        """Serve `sftp/` to whoever `allow` has named."""
        key, keys = self._folder / "host_key", self._folder / "authorized_keys"
        if not key.exists():
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "storage", "-f", key)
        keys.touch(mode=0o600)
        configuration = self._folder / "sshd_config"
        configuration.write_text(
            _SSHD.format(address=self.address, port=SFTP_PORT, folder=self._folder, data=self.sftp)
        )
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        self._start("sftp", ["/usr/sbin/sshd", "-D", "-e", "-f", str(configuration)], SFTP_PORT, {})

    def allow(self, public_key: str) -> None:
        """Let a client's key in."""
        with (self._folder / "authorized_keys").open("a") as file:
            file.write(public_key.strip() + "\n")

    def host_key(self) -> str:
        """The SFTP server's public key: type and base64."""
        return " ".join((self._folder / "host_key.pub").read_text().split()[:2])

    def stop(self, *names: str) -> None:
        """Pull the plug of these servers, or of all; safe to call twice."""
        for name in names or tuple(self._running):
            if process := self._running.pop(name, None):
                process.kill()
                process.wait(30)

    def _start(self, name: str, words: list[str], port: int, environment: dict[str, str]) -> None:
        groups = cgroups.make(f"{self._slot.tag}/{name}")
        enter = "".join(f"echo 0 > {shlex.quote(str(group))}/cgroup.procs; " for group in groups)
        serve = f"exec nsenter --net=/run/netns/{self._slot.namespace} {shlex.join(words)}"
        with (self._folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(
                ["sh", "-c", enter + serve], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={"PATH": os.environ["PATH"], **environment}, start_new_session=True,
            )  # fmt: skip
        until(lambda: self._listens(port), f"{name}: start", 60)

    def _listens(self, port: int) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self.address, port), 1):
            return True
        return False
