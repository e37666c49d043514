"""NVIDIA's driver, as Ubuntu signs it: found out, installed, and a reboot asked for that loads it."""

from __future__ import annotations

import os
from typing import Any, Dict

from otobotctl.agent import apt, drivers
from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import ask, has

MARK = "/run/otobot/nvidia-reboot"  # gone with the boot that it asks to end
_VERSION = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
_LIST = ("ubuntu-drivers", "list", "--gpgpu")


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer {"running": version or "", "cards": ids, "branch", "modules", "refused", "installed", "reboot"}.

    A driver that runs and is new enough needs no choice. `installed`: the chosen one is, but does not run (yet);
    `reboot`: it waits for one.
    """
    version = drivers.running(ask(_VERSION).stdout) or ""
    known = {"running": version, "cards": [], "branch": "", "modules": "", "refused": ""}  # type: Dict[str, Any]
    known.update(installed=False, reboot=os.path.exists(MARK))
    if drivers.number(version) >= drivers.OLDEST and not _other(params, version):
        return known
    if not has("lspci"):
        raise ProbeError("there is no lspci to look for cards with; the package pciutils has it")
    known["cards"] = drivers.cards(ask(["lspci", "-n"]).stdout)
    if not known["cards"]:
        raise ProbeError("this host has no NVIDIA card; if that is meant: otobotctl gpu setup HOST --cpu")
    if not has("ubuntu-drivers"):
        raise ProbeError("drivers are installed on Ubuntu alone; on this system install NVIDIA's driver yourself")
    known.update(_choice(params))
    if known["branch"]:
        known["installed"] = _utils(known["branch"]) in apt.installed([_utils(known["branch"])])
    return known


def apply(params: Dict[str, Any], run: Run) -> None:
    """Install the chosen branch by Ubuntu's own way, and ask for a reboot. Raises StepError with why none can be."""
    found = probe(params)
    if found["refused"]:
        raise StepError(found["refused"])
    if not found["branch"]:
        return
    apt.repair(run)
    if not found["installed"]:
        run.say("installing the driver {} ({})".format(found["branch"], found["modules"] or "modules as it says"))
        run.command(["ubuntu-drivers", "install", "--gpgpu", "nvidia:" + found["branch"]])
        # nvidia-smi; that it is there tells, last of all, that everything before it is.
        apt.command(run, ["install", "--no-install-recommends", _utils(found["branch"])])
    os.makedirs(os.path.dirname(MARK), mode=0o700, exist_ok=True)
    with open(MARK, "w", encoding="utf-8") as stream:
        stream.write(found["branch"] + "\n")


def _choice(params: Dict[str, Any]) -> Dict[str, Any]:
    said = ask(_LIST, timeout_s=120.0)
    if said.status:
        raise ProbeError("ubuntu-drivers failed: {}".format((said.stderr or said.stdout).strip()[-300:]))
    # Without mokutil or without EFI there is no Secure Boot.
    secured = drivers.secure_boot(ask(["mokutil", "--sb-state"]).stdout)
    return drivers.choose(drivers.offered(said.stdout), params.get("branch") or "", secured)


def _other(params: Dict[str, Any], version: str) -> bool:
    """Whether another branch is pinned than the one that runs."""
    pinned = params.get("branch") or ""
    return bool(pinned) and drivers.number(pinned.replace("-", ".")) != drivers.number(version)


def _utils(branch: str) -> str:
    return "nvidia-utils-" + branch.replace("-open", "")
