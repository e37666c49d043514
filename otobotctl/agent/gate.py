"""The way in of an operator whose role is not the administrator's: sshd lets that key run this alone, as root.

What comes over stdin is one request, as ever; of the operations only those that the role's policy guards are served.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any, Dict, NoReturn

from otobotctl.agent.main import main as serve
from otobotctl.agent.protocol import BEAT_S, RUNTIME_DIR, STATE_DIR
from otobotctl.agent.wire import RefusedError

_LOOKS = {"host_status"}


def main(kept: str) -> NoReturn:
    """Serve one request. `kept` is the directory that this agent was imported from."""
    signal.signal(signal.SIGALRM, lambda *_: os.write(1, b'{"beat":true}\n'))
    signal.setitimer(signal.ITIMER_REAL, BEAT_S, BEAT_S)
    os.write(1, b'{"ready":true}\n')
    serve(sys.stdin.buffer.readline(), kept, STATE_DIR, RUNTIME_DIR, allowed)


def allowed(request: Dict[str, Any]) -> None:
    """Let pass what every role may ask for. Raises RefusedError for the rest."""
    looks = request["op"] == "observe" and all(each["kind"] in _LOOKS for each in request["questions"])
    reads = request["op"] == "exec" or (request["op"] == "ledger" and not request["event"])
    if not (looks or reads):
        raise RefusedError("policy", "this account may use exec, audit and status here, and no more")
