"""Runs one command inside a service's container, as the container's own user."""

from __future__ import annotations

import subprocess
from typing import Any, Dict

from otobotctl.agent.running import running
from otobotctl.agent.wire import RefusedError, Wire

_TAIL = 20
_BLOCK = 1 << 16


def inside(request: Dict[str, Any], wire: Wire) -> None:
    """Send the command's stdout in blocks, then {"exit": status, "said": the last lines of its stderr}.

    Raises:
        RefusedError: the service has no running container.
    """
    found = [each for each in running(request["project"]) if each.service == request["service"]]
    if not found:
        raise RefusedError("refused", "{} of {} does not run here".format(request["service"], request["project"]))
    # The input goes to stdin and never into an argument: it may hold a password.
    done = subprocess.run(
        ["docker", "exec", "--interactive", found[0].container, *request["argv"]],
        input=request["input"].encode(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        check=False,
    )
    for start in range(0, len(done.stdout), _BLOCK):
        wire.block(done.stdout[start : start + _BLOCK])
    said = done.stderr.decode("utf-8", "replace").splitlines()[-_TAIL:]
    wire.send({"exit": done.returncode, "said": said})
