"""Kernel settings: one drop-in file and the live values it stands for."""

from __future__ import annotations

import os
from typing import Any, Dict, Optional

from otobotctl.agent import files
from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import ask

PROC = "/proc/sys"


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer `content` (None: no file), `live` ({key: value, None: no such key}), `fixed` (keys nobody can write)."""
    keys = params["keys"]
    live = {key: live_value(key) for key in keys}
    return {"content": _read(params["path"]), "live": live, "fixed": [key for key in keys if _fixed(key)]}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Write the drop-in, load it, and look whether every value took. Raises StepError naming the keys that did not."""
    path, settings = params["path"], params["settings"]
    files.write(path, params["content"].encode(), mode=0o644)
    answer = ask(["sysctl", "-p", path])
    for line in (answer.stdout + answer.stderr).splitlines():
        run.say(line)
    refused = []
    for key in sorted(settings):
        live = live_value(key)
        if live == settings[key]:
            continue
        told = "{} (it is {})".format(key, "unknown to this kernel" if live is None else live)
        if params.get("optional") and _fixed(key):
            run.say("this host cannot set {}".format(told))
        else:
            refused.append(told)
    if refused:
        raise StepError(
            "this host refuses: {}; a container may not set every key, and some need a module".format(
                ", ".join(refused)
            )
        )
    if answer.status and not params.get("optional"):
        raise StepError("sysctl -p {} ended with {}".format(path, answer.status))


def live_value(key: str) -> Optional[str]:
    """The kernel's value of `key`, blanks made single; None where there is no such key."""
    text = _read(os.path.join(PROC, key_path(key)))
    return None if text is None else " ".join(text.split())


def _fixed(key: str) -> bool:
    """Whether not even root can write `key` here: it is not there, or on a file system that is read-only."""
    return not os.access(os.path.join(PROC, key_path(key)), os.W_OK)


def key_path(key: str) -> str:
    """The path of a key under /proc/sys: the separator met first is the separator (sysctl.d(5))."""
    first = next((mark for mark in key if mark in "./"), "/")
    return key if first == "/" else key.replace("/", "\0").replace(".", "/").replace("\0", ".")


def _read(path: str) -> Optional[str]:
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return stream.read()
    except OSError:
        return None
