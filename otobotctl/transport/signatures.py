"""Whether a text was signed by a host: OpenSSH's own signatures, held against the keys that the fleet has pinned."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from otobotctl.errors import OtobotError
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


def pin_own(known_hosts: Path, name: str, key: Path) -> None:
    """Have a key pair of this machine's at `key`, made where there is none, that the fleet trusts under `name`.

    Raises:
        OtobotError: it cannot be made or read.
    """
    public = key.with_name(key.name + ".pub")
    if not public.exists():
        key.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        key.unlink(missing_ok=True)  # of one that was killed before its public half was there
        argv = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(key))
        done = subprocess.run(
            argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=_LIMIT_S, check=False,
            env=program.environment(),
        )  # fmt: skip
        if done.returncode:
            said = done.stderr.decode("utf-8", "replace").splitlines()
            raise OtobotError(f"{key} cannot be made", hint="see whether you may write there", details=said[-3:])
    kind, blob, *_ = public.read_text(encoding="ascii").split()
    own = hostkeys.HostKey(kind, blob)
    if own not in hostkeys.pinned(known_hosts, name):
        hostkeys.pin(known_hosts, name, own)


def _verifies(folder: Path, host: str, namespace: str, text: str) -> bool:
    argv = ("ssh-keygen", "-Y", "verify", "-f", folder / "signers", "-I", host, "-n", namespace)
    done = subprocess.run(
        (*argv, "-s", folder / "signature"), input=text.encode(), capture_output=True, timeout=_LIMIT_S, check=False,
        env=program.environment(),
    )  # fmt: skip
    return done.returncode == 0
