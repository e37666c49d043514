"""One directory: its mode, owner and group; never its content."""

from __future__ import annotations

import errno
import os
from typing import Any, Dict, Tuple

from otobotctl.agent import files
from otobotctl.agent.run import Run, StepError


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: type, mode, owner, group."""
    return files.describe(params["path"])


def apply(params: Dict[str, Any], run: Run) -> None:
    """Make the directory what `params` say; missing parents are made 0755, like `install -d` does."""
    path = params["path"]
    found = files.describe(path)["type"]
    if found not in ("absent", "directory"):
        raise StepError("{} is a {}, not a directory; remove it by hand if nothing needs it".format(path, found))
    try:
        if params.get("state") == "absent":
            _remove(path, found, run)
            return
        ids = (files.uid_of(params["owner"]), files.gid_of(params["group"]))
        if found == "absent":
            _make(path)
            run.say("made {}".format(path))
        _set_attributes(path, int(params["mode"], 8), ids)
    except OSError as error:
        raise StepError("cannot make {}: {}".format(path, error.strerror)) from error


def _make(path: str) -> None:
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        _make(parent)
        os.chmod(parent, 0o755)  # whatever the umask is: the leaf alone decides who gets in
    os.mkdir(path, 0o700)
    files.sync_folder(parent)


def _set_attributes(path: str, mode: int, ids: Tuple[int, int]) -> None:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    folder = os.open(path, flags)
    try:
        files.set_attributes(folder, mode, ids)
        os.fsync(folder)
    finally:
        os.close(folder)


def _remove(path: str, found: str, run: Run) -> None:
    if found == "absent":
        return
    try:
        os.rmdir(path)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise StepError("{} is not empty; remove what is in it first".format(path)) from error
        raise
    files.sync_folder(os.path.dirname(path))
    run.say("removed {}".format(path))
