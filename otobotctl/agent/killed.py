"""Whom the kernel killed for want of memory, by its own log: Docker forgets it when it starts a container again."""

from __future__ import annotations

import re
from typing import Any, Dict, List

from otobotctl.agent.run import ProbeError
from otobotctl.agent.shell import ask

# One line a kill: "1795298079.37 vps kernel: oom-kill:constraint=...,task_memcg=/system.slice/docker-ID.scope,task=..."
_KILL = re.compile(r"^(\d+\.\d+) .*? kernel: (?:\[ *[\d.]+\] )?oom-kill:.*?,task_memcg=([^,]*),task=(.*?),pid=\d+")
_CONTAINER = re.compile(r"\b([0-9a-f]{64})\b")
_ARGV = ("journalctl", "--dmesg", "--since=-1d", "--output=short-unix", "--no-pager", "--quiet", "--grep=oom-kill:")


def kills() -> List[Dict[str, Any]]:
    """Each kill of the last day and of this boot, see parse(); none where this host keeps no log of its kernel."""
    try:
        return parse(ask(_ARGV, timeout_s=20.0).stdout)
    except ProbeError:
        return []


def parse(stdout: str) -> List[Dict[str, Any]]:
    """{"time": Unix seconds, "task": the program's short name, "container": Docker's id or ""}, in order."""
    found = []
    for line in stdout.splitlines():
        said = _KILL.match(line)
        if said:
            inside = _CONTAINER.search(said[2])
            found.append({"time": float(said[1]), "task": said[3], "container": inside[1] if inside else ""})
    return found
