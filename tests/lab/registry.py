"""A registry of images that answers as Docker Hub and others, with an authority of the lab's own: `docker compose pull` is real."""

from __future__ import annotations

import contextlib
import shlex
import socket
import subprocess
from pathlib import Path

from tests.lab import cgroups
from tests.lab.shell import run, until
from tests.lab.slot import Slot, home, locked

NAMES = ("registry-1.docker.io", "docker.io", "index.docker.io", "ghcr.io", "quay.io", "registry.librechat.ai")
_CURVE = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
_CONFIGURATION = """version: 0.1
log: {{level: warn}}
storage:
  filesystem: {{rootdirectory: {storage}}}
  maintenance: {{readonly: {{enabled: {readonly}}}}}
http:
  addr: {address}:443
  tls: {{certificate: {keys}/registry.crt, key: {keys}/registry.key}}
"""


def authority() -> Path:
    """Return the certificate of the lab's own authority; it and the registry's are made the first time."""
    keys = home() / "keys"
    with locked(home() / "authority.lock"):
        if not (keys / "complete").exists():
            keys.mkdir(mode=0o700, exist_ok=True)
            _make_certificates(keys)
            (keys / "complete").touch()
    return keys / "authority.crt"


def _make_certificates(keys: Path) -> None:
    def openssl(*words: str) -> None:
        run("openssl", *words, cwd=keys)

    days = ("-days", "3650")
    subject = ("-subj", "/CN=lab authority")
    openssl("req", "-x509", *_CURVE, *days, *subject, "-keyout", "authority.key", "-out", "authority.crt")
    openssl("req", *_CURVE, "-subj", "/CN=lab registry", "-keyout", "registry.key", "-out", "registry.csr")
    (keys / "names").write_text("subjectAltName=" + ",".join(f"DNS:{name}" for name in NAMES) + "\n")
    signed = ("-CA", "authority.crt", "-CAkey", "authority.key", "-CAcreateserial", "-extfile", "names")
    openssl("x509", "-req", "-in", "registry.csr", *signed, *days, "-out", "registry.crt")


class Registry:
    """Debian's docker-registry on the lab's bridge. It dies with the lab's cgroup."""

    def __init__(self, slot: Slot, storage: Path, *, readonly: bool) -> None:
        self._slot, self._storage, self._readonly = slot, storage, readonly
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it listens."""
        authority()
        configuration = self._slot.directory / "registry.yml"
        answers = str(self._readonly).lower()
        configuration.write_text(
            _CONFIGURATION.format(
                storage=self._storage, readonly=answers, address=self._slot.registry, keys=home() / "keys"
            )
        )
        groups = cgroups.make(f"{self._slot.tag}/registry")
        enter = "".join(f"echo 0 > {shlex.quote(str(group))}/cgroup.procs; " for group in groups)
        serve = f"exec nsenter --net=/run/netns/{self._slot.namespace} docker-registry serve {configuration}"
        with (self._slot.directory / "registry.log").open("ab") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", enter + serve], stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        until(self._listens, "registry: start", 60)

    def _listens(self) -> bool:
        with contextlib.suppress(OSError), socket.create_connection((self._slot.registry, 443), 1):
            return True
        return False

    def stop(self) -> None:
        """Stop it; safe to call twice."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None
