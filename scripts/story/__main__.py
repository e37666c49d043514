"""`scripts/demo`: tells the story on the best target this machine offers, and leaves nothing behind.

OTOBOTCTL_DEMO_TARGET: auto (default), lab (a real throw-away host; needs root) or embedded.
OTOBOTCTL_DEMO_KEEP=1: keep the fleet and the renderings.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from types import FrameType
from typing import TYPE_CHECKING

from scripts.story import credential, fleet, host, place
from scripts.story.operator import Operator
from scripts.story.proof import Story

if TYPE_CHECKING:
    from tests.lab.lab import Lab

TARGETS = ("auto", "lab", "embedded")
EXIT_INTERRUPTED = 130


def main() -> int:
    """Tell it; 0 when every claim was proved."""
    wanted = os.environ.get("OTOBOTCTL_DEMO_TARGET") or "auto"
    if wanted not in TARGETS:
        sys.stderr.write(f"OTOBOTCTL_DEMO_TARGET must be one of {', '.join(TARGETS)}\n")
        return 2
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    story = Story(float(os.environ.get("OTOBOTCTL_DEMO_BEGAN") or time.time()))
    code = _code(story, wanted)
    story.say("")
    story.say(story.table())
    return code


def _code(story: Story, wanted: str) -> int:
    try:
        _tell(story, wanted)
    except KeyboardInterrupt:
        story.say("\ninterrupted; everything it started has been taken away")
        return EXIT_INTERRUPTED
    except Exception as error:  # noqa: BLE001 - told in one line; the table says which claim
        story.say(f"\nthe story ends here: {type(error).__name__}: {error}")
        return 1
    return 0 if story.held else 1


def _tell(story: Story, wanted: str) -> None:
    keep = os.environ.get("OTOBOTCTL_DEMO_KEEP") == "1"
    with ExitStack() as stack:
        lab, why_not = _lab(stack, wanted)
        story.target = "embedded PostgreSQL" + (", and a real host of the lab" if lab else "")
        story.say(f"target: {story.target}" + (f" (no real host: {why_not})" if why_not else ""))
        directory = stack.enter_context(place.directory("demo", keep=keep))
        (directory / "home").mkdir(mode=0o700)
        operator = Operator(directory / "home", directory / "fleet")
        fleet.tell(story, operator)
        rendered = fleet.tell_rendering(story, operator, directory)
        with credential.ground(story, rendered, directory) as ground:
            credential.tell(story, ground)
            _say_where(story, operator, rendered, ground)
        if lab:
            host.tell(story, operator, lab)
    if keep:
        story.say(f"\nkept: {directory} (secrets in it; remove it when you have looked)")


def _lab(stack: ExitStack, wanted: str) -> tuple[Lab | None, str]:
    """The lab, or why there is none. Raises NoLabError where one was asked for by name."""
    if wanted == "embedded":
        return None, "OTOBOTCTL_DEMO_TARGET=embedded"
    try:
        return host.open_lab(stack), ""
    except host.NoLabError as error:
        if wanted == "lab":
            raise
        return None, str(error)


def _say_where(story: Story, operator: Operator, rendered: fleet.Rendered, ground: credential.Ground) -> None:
    story.chapter("Where everything is, until the demo ends")
    places = {
        "manifest": operator.fleet / fleet.MANIFEST,
        "sealed secrets": operator.fleet / "clients" / fleet.CLIENT / "secrets.age",
        "identity": operator.home / ".config" / "otobotctl",
        "rendered client": rendered.directory,
        "vault API": ground.api.url,
        "its log": ground.api.log,
    }
    for name, where in places.items():
        story.say(f"  {name:16} {where}")


def _interrupt(number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt(signal.Signals(number).name)


if __name__ == "__main__":
    sys.exit(main())
