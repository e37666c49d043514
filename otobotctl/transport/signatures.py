"""Whether a text was signed by a host: OpenSSH's own signatures, held against the keys that the fleet has pinned."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from otobotctl.transport import hostkeys, program

if TYPE_CHECKING:
    from otobotctl.transport.hostkeys import HostKey

_LIMIT_S = 30


def signer(known_hosts: Path, host: str, namespace: str, text: str, signatures: Iterable[str]) -> HostKey | None:
    """Return the pinned key of `host` that signed `text`; None where none did.

    `signatures` are armoured, as `ssh-keygen -Y sign` makes them. Raises FileNotFoundError: there is no ssh-keygen.
    """
    keys = hostkeys.pinned(known_hosts, host)
    with tempfile.TemporaryDirectory(prefix="otobotctl-") as name:
        folder = Path(name)
        for signature in signatures:
            (folder / "signature").write_text(signature, encoding="ascii", errors="replace")
            for key in keys:
                (folder / "signers").write_text(f"{host} {key.type} {key.blob}\n", encoding="ascii")
                if _verifies(folder, host, namespace, text):
                    return key
    return None


def _verifies(folder: Path, host: str, namespace: str, text: str) -> bool:
    argv = ("ssh-keygen", "-Y", "verify", "-f", folder / "signers", "-I", host, "-n", namespace)
    done = subprocess.run(
        (*argv, "-s", folder / "signature"), input=text.encode(), capture_output=True, timeout=_LIMIT_S, check=False,
        env=program.environment(),
    )  # fmt: skip
    return done.returncode == 0
