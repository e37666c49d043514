"""Containers that have ended and that Docker will start again after a pause, which grows to a minute.

All that time they count as unhealthy, so that `up --wait` gives up at once on one that only needs what was away: after
a boot everything starts at the same time, and whoever comes before its database ends.
"""

from __future__ import annotations

import time
from typing import Callable, Type

from otobotctl.agent import compose
from otobotctl.agent.shell import ask

_GRACE_S = 10


def around(project: str, up: Callable[[], object], failure: Type[Exception], say: Callable[[str], None]) -> None:
    """Bring a project up by `up`; once more where containers from before waited so. Raises `failure`, as it does."""
    begun = time.time()
    try:
        up()
    except failure:
        if not leave(project, begun, say):
            raise
        up()


def leave(project: str, since: float, say: Callable[[str], None]) -> bool:
    """Stop those of a project that were made before `since` (Unix seconds), so that Compose starts them in their turn.

    Return whether there was one. One that was made later is what is brought up, and shows that it does not work.
    """
    waiting = ask(
        ["docker", "ps", "--quiet", "--filter", compose.of_project(project), "--filter", "status=restarting"]
    ).stdout.split()
    old = [ident for ident in waiting if _made_before(ident, since)]
    for ident in old:
        say("container {} waited to be started again, from before; it is brought up anew".format(ident))
        ask(["docker", "stop", "--time", str(_GRACE_S), ident])
    return bool(old)


def _made_before(ident: str, since: float) -> bool:
    answer = ask(["docker", "inspect", "--format", "{{.Created}}", ident])
    return not answer.status and compose.unix(answer.stdout.strip()) < since
