"""Serves what an operator wants proved of a client's archives: the request's `word` names the module that does it."""

from __future__ import annotations

import sys
from typing import Any, Dict

from otobotctl.agent.wire import RefusedError, Wire

WORDS: Dict[str, str] = {"verify": "verify", "drill": "drill", "reports": "drill"}


def serve(request: Dict[str, Any], wire: Wire) -> None:
    """Send the records of the word's module. Raises RefusedError."""
    if request["word"] not in WORDS:
        raise RefusedError("refused", "this host's agent knows no proof {}".format(request["word"]))
    name = "otobotctl.agent.backup." + WORDS[request["word"]]
    __import__(name)
    sys.modules[name].serve(request, wire.send)
