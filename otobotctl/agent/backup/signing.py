"""A drill's report, signed by the host: its SSH host key is what the fleet knows it by already."""

from __future__ import annotations

import glob
import os
import subprocess
from typing import Any, Dict, List

from otobotctl.agent import files
from otobotctl.agent.backup.shapes import NAMESPACE
from otobotctl.agent.lines import canonical, decode, encode
from otobotctl.agent.run import environment

KEYS = "/etc/ssh/ssh_host_*_key"
_KEPT = 60  # reports: five years of monthly ones


def write(folder: str, name: str, report: Dict[str, Any], keys: str = KEYS) -> Dict[str, Any]:
    """Sign a report with every host key there is, and keep both; return {"report": text, "signatures": [...]}.

    A signature is OpenSSH's own (`ssh-keygen -Y verify`, namespace otobot-drill), over the report's exact text.

    Raises:
        OSError: it cannot be written.
    """
    signed = sign(report, keys)
    keep(folder, name, signed)
    return signed


def sign(report: Dict[str, Any], keys: str = KEYS) -> Dict[str, Any]:
    """Sign a report that is kept elsewhere; return as `write`."""
    text = canonical(report)
    return {"report": text, "signatures": _signatures(text, keys)}


def keep(folder: str, name: str, signed: Dict[str, Any]) -> None:
    """Keep a signed report, and the newest of those before. Raises OSError."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    user, group = files.me()
    files.write(os.path.join(folder, name), encode(signed), 0o600, user, group)
    for old in sorted(os.listdir(folder))[:-_KEPT]:
        os.unlink(os.path.join(folder, old))


def read(folder: str, name: str = "") -> Dict[str, Any]:
    """A kept report, the newest without a name. Raises LookupError: there is none."""
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    chosen = [each for each in names if each == name] if name else [each for each in names if each.endswith(".json")]
    if not chosen:
        raise LookupError
    found: Dict[str, Any] = decode(files.read(os.path.join(folder, chosen[-1])) or b"null")
    return found


def _signatures(text: str, keys: str) -> List[str]:
    found = []
    for key in sorted(glob.glob(keys)):
        argv = ["ssh-keygen", "-Y", "sign", "-q", "-f", key, "-n", NAMESPACE]
        done = subprocess.run(
            argv, input=text.encode(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False, env=environment()
        )  # fmt: skip
        if not done.returncode:
            found.append(done.stdout.decode())
    return found
