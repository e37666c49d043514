"""What Compose leaves of a container that it was about to replace when it was killed, or the power went.

It makes the new one as <start of the old one's id>_<name>, stops and removes the old one and gives the new one its
name. Cut off in between, there are two of a service: the next `up` makes one of that name again, which Docker refuses.
"""

from __future__ import annotations

import re
from typing import List, Tuple

from otobotctl.agent import compose
from otobotctl.agent.run import Run

_HALFWAY = re.compile(r"(?:[0-9a-f]{12}_)+(.+)")


def tidy(project: str, run: Run) -> None:
    """Finish or undo every replacement of the project that was cut off; its volumes stay. Raises StepError."""
    undone, done = decide(compose.listed(project, "{{.ID}}\t{{.Names}}"))
    for ident, name in undone:
        run.say("{}: its replacement was cut off, and begins anew".format(name))
        run.command(["docker", "rm", "--force", ident])
    for ident, name in done:
        run.say("{}: its replacement was cut off before it had its name".format(name))
        run.command(["docker", "rename", ident, name])


def decide(listed: str) -> Tuple[List[Tuple[str, str]], List[Tuple[str, str]]]:
    """Of lines of id and name, newest first: which containers go, and which take the place of one that is gone.

    Each with the name that it was made for.
    """
    pairs = [line.split("\t") for line in listed.splitlines() if line.count("\t") == 1]
    taken = {name for _, name in pairs}
    undone: List[Tuple[str, str]] = []
    done: List[Tuple[str, str]] = []
    for ident, name in pairs:
        halfway = _HALFWAY.fullmatch(name)
        if halfway is None:
            continue
        (undone if halfway[1] in taken else done).append((ident, halfway[1]))
        taken.add(halfway[1])
    return undone, done
