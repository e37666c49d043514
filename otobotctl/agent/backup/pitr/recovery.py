"""PostgreSQL brought to a moment beside what runs: a container of the client's own image, without a network.

Its data directory is the restored one; the log is in a directory inside of it. It replays until the moment, is promoted
and can be asked then; nothing else ever reaches it. The next restore removes whatever a killed one has left.
"""

from __future__ import annotations

import contextlib
import time
from typing import List, Sequence

from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.pitr.segments import SIZE
from otobotctl.agent.dumps import Project, psql
from otobotctl.agent.run import ProbeError
from otobotctl.agent.shell import ask

LOG = "otobot_wal"  # in the data directory, where the programs start
_PREFIX = "otobot-restore-"
_PAUSE_S = 0.5
_LIMIT_S = 6 * 3600.0
_ASK_S = 120.0
_GRACE_S = "120"
_EARLY = "recovery ended before configured recovery target was reached"
# One that was being filled with zeros when it was sent is too short for PostgreSQL.
_PARTIAL = 'cp "{0}/%f.partial" "%p" && truncate -s {1} "%p"'.format(LOG, SIZE)
FETCH = 'cp "{0}/%f" "%p" || {{ {1}; }}'.format(LOG, _PARTIAL)


class Inside(Project):
    """In the place of a project, for whoever asks a database."""

    def inside(self, service: str, *argv: str) -> List[str]:  # noqa: ARG002 there is one alone
        """The command line that runs `argv` in the container."""
        return ["docker", "exec", "--interactive", self.name, *argv]


class Recovery:
    """One client's recovery in the directory `data`. Every method but `clear` raises RestoreError and ProbeError."""

    def __init__(self, hands: Hands, client: str, image: str, data: str) -> None:
        self._say = hands.say
        self.name = _PREFIX + client
        self._image, self._data = image, data
        self.hands = Hands(Inside(self.name, ""), hands.say)

    def run(self, moment: str) -> None:
        """Replay the log until `moment` (as SQL takes it), to its end where that is "", and be promoted."""
        said, tries = "", [["-c", "recovery_target_time=" + moment], []]
        for target in tries if moment else tries[1:]:
            self.clear()
            self._start(target)
            if self._promoted():
                self.hands.sql("", "CHECKPOINT;")
                return
            said = self._words()
            if _EARLY not in said:
                raise RestoreError("the log cannot be replayed: {}".format(last(said)))
            # Nothing was committed after that moment as far as the log goes, which is known to cover it.
        raise RestoreError("the log cannot be replayed: {}".format(last(said)))

    def _start(self, more: Sequence[str]) -> None:
        mount = "type=bind,source={},target=/var/lib/postgresql/data".format(self._data)
        settings = (
            "restore_command=" + FETCH,
            "hot_standby=off",
            "recovery_target_action=promote",
            "archive_mode=off",
        )
        words = [word for setting in settings for word in ("-c", setting)]
        argv = ["docker", "run", "--detach", "--name", self.name, "--network", "none", "--shm-size=128m"]
        argv += ["--security-opt=no-new-privileges", "--mount", mount, self._image, "postgres", *words, *more]
        answer = ask(argv, timeout_s=_ASK_S)
        if answer.status:
            raise RestoreError("the container for the log cannot be started: {}".format(last(answer.stderr)))

    def _promoted(self) -> bool:
        """Wait; False: it ended instead."""
        deadline = time.monotonic() + _LIMIT_S
        words = self.hands.project.inside("", *psql("postgres", "--command=SELECT pg_is_in_recovery()"))
        while time.monotonic() < deadline:
            if ask(words, timeout_s=_ASK_S).stdout.strip() == "f":
                return True
            running = ask(["docker", "inspect", "--format", "{{.State.Running}}", self.name], timeout_s=_ASK_S)
            if running.stdout.strip() != "true":
                return False
            time.sleep(_PAUSE_S)
        raise RestoreError("the log was not replayed in {:.0f} h".format(_LIMIT_S / 3600))

    def _words(self) -> str:
        answer = ask(["docker", "logs", "--tail", "40", self.name], timeout_s=_ASK_S)
        return answer.stdout + answer.stderr

    def stop(self) -> None:
        """End it cleanly: what it has is whole on disk."""
        answer = ask(["docker", "stop", "--time", _GRACE_S, self.name], timeout_s=300.0)
        if answer.status:
            raise RestoreError("the container for the log does not end: {}".format(last(answer.stderr)))
        self.clear()

    def clear(self) -> None:
        """Remove it, whatever it does; none is fine."""
        with contextlib.suppress(ProbeError):
            ask(["docker", "rm", "--force", "--volumes", self.name], timeout_s=_ASK_S)


def last(said: str) -> str:
    """What PostgreSQL's own log says went wrong, in its last words."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    fatal = [line for line in lines if "FATAL" in line or "PANIC" in line or "ERROR" in line]
    return "; ".join((fatal or lines)[-2:]) or "no word why"
