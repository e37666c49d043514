"""What a client's containers have said, line by line, as long as the operator listens."""

from __future__ import annotations

import os
import signal
import subprocess
from typing import Any, Dict, List

from otobotctl.agent import compose
from otobotctl.agent.releases import Releases
from otobotctl.agent.wire import RefusedError, Wire

_BLOCK = 1 << 16


def loglines(request: Dict[str, Any], wire: Wire) -> None:
    """Send what Docker has of the client's containers in blocks, oldest first, then {"exit": status}.

    Raises:
        RefusedError: nothing is deployed, or the release has no such service.
    """
    here = Releases(request["client"])
    number = here.current()
    if number is None:
        raise RefusedError("refused", "nothing is deployed for {} on this host".format(request["client"]))
    known = sorted(here.record(number).get("images") or {})
    unknown = [name for name in request["services"] if name not in known]
    if unknown:
        raise RefusedError("refused", "there is no {}; there are: {}".format(unknown[0], ", ".join(known)))
    process = subprocess.Popen(
        _argv(request, here), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    try:
        while True:
            block = os.read(process.stdout.fileno(), _BLOCK)
            if not block:
                break
            wire.block(block)
        wire.send({"exit": process.wait()})
    finally:
        # An operator who left: the next block or beat finds the line cut, and nothing stays behind here.
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)


def _argv(request: Dict[str, Any], here: Releases) -> List[str]:
    words = ["logs", "--no-color", "--timestamps", "--tail", str(request["tail"])]
    if request["since"]:
        words += ["--since", request["since"]]
    if request["follow"]:
        words.append("--follow")
    return compose.argv(request["project"], here.link, *words, *request["services"])
