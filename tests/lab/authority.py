"""A certificate authority that answers ACME for real: Debian's Caddy on the lab's bridge, with a root of its own.

It proves names over HTTP at the hosts' port 80, as a public one does; which host a name is, is read from a file of its own.
"""

from __future__ import annotations

import contextlib
import shlex
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path

from tests.lab import cgroups
from tests.lab.shell import LabError, until
from tests.lab.slot import Slot

NAME = "Lab ACME Authority"
PORT = 8443
_CONFIGURATION = """{{
	admin off
	auto_https disable_redirects
	skip_install_trust
	storage file_system {home}/data
	pki {{
		ca lab {{
			name "{name}"
		}}
	}}
}}
https://{address}:{port} {{
	tls {{
		issuer internal {{
			ca lab
		}}
	}}
	acme_server {{
		ca lab
		lifetime {lifetime}
	}}
}}
"""


class Authority:
    """An ACME server at `directory`, whose roots are `root()`. It dies with the lab's cgroup."""

    def __init__(self, slot: Slot, *, lifetime: str = "12h") -> None:
        """Certificates end after `lifetime`."""
        if shutil.which("caddy") is None:
            raise LabError("no caddy: scripts/test-packages installs it")
        self._slot, self._home = slot, slot.directory / "authority"
        self._process: subprocess.Popen[bytes] | None = None
        shutil.rmtree(self._home, ignore_errors=True)
        (self._home / "data").mkdir(parents=True)
        self.names({})
        (self._home / "Caddyfile").write_text(
            _CONFIGURATION.format(home=self._home, name=NAME, address=slot.gateway, port=PORT, lifetime=lifetime)
        )

    @property
    def directory(self) -> str:
        """Where ACME begins."""
        return f"https://{self._slot.gateway}:{PORT}/acme/lab/directory"

    @property
    def log(self) -> Path:
        """What it said."""
        return self._home / "log"

    def root(self) -> str:
        """The certificate that it is trusted by, PEM."""
        return (self._home / "data/pki/authorities/lab/root.crt").read_text()

    def names(self, names: Mapping[str, str]) -> None:
        """Say at which address each name is from now on. It starts again, or it would go on over connections it has."""
        lines = ["127.0.0.1 localhost", *(f"{address} {name}" for name, address in names.items())]
        (self._home / "hosts").write_text("\n".join(lines) + "\n")
        if self._process is not None:
            self.stop()
            self.start()

    def start(self) -> None:
        """Start it and wait until it listens; its keys and accounts are those of before."""
        groups = cgroups.make(f"{self._slot.tag}/authority")
        enter = "".join(f"echo 0 > {shlex.quote(str(group))}/cgroup.procs; " for group in groups)
        # Its own /etc/hosts in a mount namespace of its own: the names that it proves are in no DNS.
        serve = f"mount --bind {self._home}/hosts /etc/hosts && exec caddy run --config {self._home}/Caddyfile --adapter caddyfile"
        inside = f"exec nsenter --net=/run/netns/{self._slot.namespace} unshare --mount sh -c {shlex.quote(serve)}"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", enter + inside], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": str(self._home)},
            )  # fmt: skip
        until(self._listens, "authority: start", 60)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self._slot.gateway, PORT), 1):
            return True
        return False

    def stop(self) -> None:
        """Stop it; safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None
