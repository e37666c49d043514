"""Runs one command inside a service's container, as the container's own user."""

from __future__ import annotations

import os
import subprocess
import threading
from collections import deque
from contextlib import suppress
from typing import IO, Any, Deque, Dict, cast

from otobotctl.agent.running import running
from otobotctl.agent.wire import RefusedError, Wire

_TAIL = 20
_BLOCK = 1 << 16


def inside(request: Dict[str, Any], wire: Wire) -> None:
    """Send the command's stdout in blocks, as it comes, then {"exit": status, "said": the last lines of its stderr}.

    Raises:
        RefusedError: the service has no running container.
    """
    found = [each for each in running(request["project"]) if each.service == request["service"]]
    if not found:
        raise RefusedError("refused", "{} of {} does not run here".format(request["service"], request["project"]))
    # The input goes to stdin and never into an argument: it may hold a password.
    argv = ["docker", "exec", "--interactive", found[0].container, *request["argv"]]
    process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    ends = cast("Dict[str, IO[bytes]]", {name: getattr(process, name) for name in ("stdin", "stdout", "stderr")})
    said: Deque[bytes] = deque(maxlen=_TAIL)
    beside = [
        threading.Thread(target=_feed, args=(ends["stdin"], request["input"].encode())),
        threading.Thread(target=said.extend, args=(ends["stderr"],)),
    ]
    for thread in beside:
        thread.daemon = True
        thread.start()
    while True:
        block = os.read(ends["stdout"].fileno(), _BLOCK)
        if not block:
            break
        wire.block(block)
    status = process.wait()
    for thread in beside:
        thread.join()
    for end in ends.values():
        end.close()
    wire.send({"exit": status, "said": [line.decode("utf-8", "replace").rstrip("\r\n") for line in said]})


def _feed(stdin: IO[bytes], data: bytes) -> None:
    with suppress(BrokenPipeError), stdin:  # a command that ended early says why by its exit status
        stdin.write(data)
