"""`otobot-backup CLIENT [run|verify|drill]`: what this host's timers start. Each word's module has `main(client)`."""

from __future__ import annotations

import os
import sys
from typing import Dict, Sequence

from otobotctl.agent.backup.shapes import HOME

WORDS: Dict[str, str] = {"run": "runner", "verify": "verify", "drill": "drill"}
USAGE = 2


def main(arguments: Sequence[str]) -> int:
    """Do what a timer or an operator asks for; return the exit status."""
    client, word = (*arguments, "run")[:2] if arguments else ("", "")
    if len(arguments) > USAGE or word not in WORDS or not client or "/" in client:
        sys.stderr.write("usage: otobot-backup CLIENT [{}]\n".format("|".join(WORDS)))
        return USAGE
    if not os.path.exists(os.path.join(HOME, client, "job.json")):
        sys.stderr.write("{} has no backup targets on this host\n".format(client))
        return USAGE
    name = "otobotctl.agent.backup." + WORDS[word]
    __import__(name)
    return int(sys.modules[name].main(client))
