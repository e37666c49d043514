"""Which NVIDIA driver a host should have. Pure: texts of programs in, a decision out."""

from __future__ import annotations

import re
from typing import Any, Dict, List, Optional

OLDEST = 550  # what Ollama needs
_CARD = re.compile(r"^\S+ 03(00|02): 10de:([0-9a-f]{4})\b", re.MULTILINE)  # VGA or 3D controller
_OFFERED = re.compile(
    r"^nvidia-driver-(\d+)(-server)?(-open)?(?:, \(kernel modules provided by (\S+)\))?\s*$", re.MULTILINE
)


def cards(lspci: str) -> List[str]:
    """The device ids of NVIDIA's cards in what `lspci -n` says; none of its sound or USB functions."""
    return [found[2] for found in _CARD.finditer(lspci)]


def offered(listed: str) -> List[Dict[str, Any]]:
    """What `ubuntu-drivers list --gpgpu` offers: branch (580-server-open), number, server, open, modules.

    `modules` is the package that the kernel's part comes in: linux-modules-nvidia-... is built and signed by Canonical,
    nvidia-dkms-... would be built here and signed by nobody; "" where it does not say.
    """
    return [
        {
            "branch": found[1] + (found[2] or "") + (found[3] or ""),
            "number": int(found[1]),
            "server": bool(found[2]),
            "open": bool(found[3]),
            "modules": found[4] or "",
        }
        for found in _OFFERED.finditer(listed)
    ]


def secure_boot(said: str) -> bool:
    """Whether `mokutil --sb-state` says that unsigned modules are refused. Without EFI there is no Secure Boot."""
    return "SecureBoot enabled" in said


def number(version: str) -> int:
    """The branch of a running driver's version, 580.82.07: 580; 0 where there is none."""
    first = version.partition(".")[0]
    return int(first) if first.isdigit() else 0


def choose(offers: List[Dict[str, Any]], pinned: str, secured: bool) -> Dict[str, Any]:
    """Which of the offers to install: {"branch", "modules", "refused"}; `refused` says why none can be.

    The newest of the server branches whose modules are signed, the proprietary one where both are offered; modules that
    would have to be built only without Secure Boot: their key can be enrolled at the machine's own screen alone.
    """
    known = [each for each in offers if each["number"] >= OLDEST and (not pinned or each["branch"] == pinned)]
    if not known:
        listed = ", ".join(each["branch"] for each in offers) or "none"
        text = "no driver {} is offered for this card; offered: {}"
        return _no(text.format(pinned or "of branch {} or newer".format(OLDEST), listed))
    best = max(known, key=lambda each: (_signed(each), each["server"], each["number"], not each["open"]))
    if secured and not _signed(best):
        text = (
            "Secure Boot is on, and {} has no signed modules for this kernel; install linux-generic, or switch it off"
        )
        return _no(text.format(best["branch"]))
    return {"branch": best["branch"], "modules": best["modules"], "refused": ""}


def _signed(offer: Dict[str, Any]) -> bool:
    return str(offer["modules"]).startswith("linux-modules-nvidia-")


def _no(why: str) -> Dict[str, Any]:
    return {"branch": "", "modules": "", "refused": why}


def running(said: str) -> Optional[str]:
    """The driver's version in what `nvidia-smi --query-gpu=driver_version` says, None where that is none."""
    found = re.search(r"^\s*(\d+\.\d+(?:\.\d+)?)\s*$", said, re.MULTILINE)
    return found[1] if found else None
