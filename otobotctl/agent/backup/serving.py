"""Serves what an operator wants proved of a client's archives: the request's `word` names the module that does it."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import Any, Dict

from otobotctl.agent.archive import stand_apart
from otobotctl.agent.backup.clock import leave_when_told
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.places import Places
from otobotctl.agent.wire import RefusedError, Wire

WORDS: Dict[str, str] = {
    "verify": "verify",
    "drill": "drill",
    "reports": "drill",
    "elsewhere": "elsewhere",
    "drilled": "elsewhere",
    "rekey": "rekey",
}
_SHORT = ("reports", "drilled", "rekey")


def serve(request: Dict[str, Any], places: Places, wire: Wire) -> None:
    """Send the records of the word's module. Raises RefusedError."""
    if request["word"] not in WORDS:
        raise RefusedError("refused", "this host's agent knows no proof {}".format(request["word"]))
    name = "otobotctl.agent.backup." + WORDS[request["word"]]
    __import__(name)
    if request["word"] not in _SHORT:
        # What was begun is ended and removed, also when the line is cut.
        stand_apart("otobot-{}-{}-{}".format(request["word"], request["client"], os.urandom(4).hex()))
        wire.alone = True
        leave_when_told()

    def tell(record: Dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            wire.send(record)

    here = BackupPlaces.on(places, request["client"])
    sys.modules[name].serve(request, here, tell)
