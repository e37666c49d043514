"""`otobot-backup CLIENT [run|verify|drill|erasures|wal|base]`: what this host's timers start.

Each word's module has `main(client)`.

`otobot-backup CLIENT restic TARGET WORDS...` is restic itself, for an operator: on that target, with its credentials.
"""

from __future__ import annotations

import os
import sys
from typing import Dict, Sequence

from otobotctl.agent.backup.shapes import HOME

WORDS: Dict[str, str] = {
    "run": "runner",
    "verify": "verify",
    "drill": "drill",
    "erasures": "erased",
    "wal": "pitr.ship",
    "base": "pitr.base",
}
USAGE = 2
_BY_HAND = 4  # client, restic, target, and what restic shall do


def main(arguments: Sequence[str]) -> int:
    """Do what a timer or an operator asks for; return the exit status."""
    client, word = (*arguments, "run")[:2] if arguments else ("", "")
    by_hand = word == "restic" and len(arguments) >= _BY_HAND
    if not client or "/" in client or not (by_hand or (word in WORDS and len(arguments) <= USAGE)):
        return _refuse("usage: otobot-backup CLIENT [{}|restic TARGET WORDS...]".format("|".join(WORDS)))
    if not os.path.exists(os.path.join(HOME, client, "job.json")):
        return _refuse("{} has no backup targets on this host".format(client))
    if by_hand:
        return _restic(client, arguments[2], arguments[3:])
    name = "otobotctl.agent.backup." + WORDS[word]
    __import__(name)
    return int(sys.modules[name].main(client))


def _refuse(message: str) -> int:
    sys.stderr.write(message + "\n")
    return USAGE


def _restic(client: str, name: str, words: Sequence[str]) -> int:
    """Become restic on one target; return only where that cannot be."""
    from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job, target
    from otobotctl.agent.backup.restic import Restic
    from otobotctl.agent.wire import RefusedError

    places = BackupPlaces(client)
    try:
        Restic.of(places, target(read_job(places), name)).become(words)
    except (JobError, RefusedError) as error:
        return _refuse(str(error))
    except OSError as error:
        return _refuse("restic cannot be run: {}".format(error.strerror))
