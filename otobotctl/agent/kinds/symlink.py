"""One symbolic link."""

from __future__ import annotations

import os
from typing import Any, Dict

from otobotctl.agent import files
from otobotctl.agent.run import ProbeError, Run, StepError


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: type, and `target` when it is a symlink."""
    path = params["path"]
    found = files.describe(path)["type"]
    if found != "symlink":
        return {"type": found}
    try:
        return {"type": found, "target": os.readlink(path)}
    except OSError as error:
        raise ProbeError("cannot read the link {}: {}".format(path, error.strerror)) from error


def apply(params: Dict[str, Any], run: Run) -> None:
    """Point the link at its target in one rename, so that no reader ever misses it."""
    path = params["path"]
    found = probe(params)
    absent = params.get("state") == "absent"
    refused = ("directory", "other", "file") if absent else ("directory", "other")
    if found["type"] in refused:
        raise StepError("{} is a {}, not a symlink; remove it by hand if nothing needs it".format(path, found["type"]))
    if absent:
        files.remove(path)
        run.say("removed {}".format(path))
    elif found.get("target") != params["target"]:
        replace(path, params["target"])
        run.say("{} -> {}".format(path, params["target"]))


def replace(path: str, target: str) -> None:
    """Make `path` a link to `target`, atomically and durably. Raises StepError."""
    name = os.path.basename(path)
    beside = files.beside_name(name)
    with files.open_folder(os.path.dirname(path)) as folder:
        try:
            if os.path.lexists(os.path.join(os.path.dirname(path), beside)):
                os.unlink(beside, dir_fd=folder)  # what a killed run left
            os.symlink(target, beside, dir_fd=folder)
            os.replace(beside, name, src_dir_fd=folder, dst_dir_fd=folder)
            os.fsync(folder)
        except OSError as error:
            raise StepError("cannot link {}: {}".format(path, error.strerror)) from error
