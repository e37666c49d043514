"""`scripts/demo`: tells the story on the best target this machine offers, and leaves nothing behind.

OTOBOTCTL_DEMO_TARGET: auto (default), lab (a real throw-away host; needs root) or embedded.
OTOBOTCTL_DEMO_KEEP=1: keep the fleet and the renderings.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from types import FrameType

from scripts.story import credential, fleet, host, place
from scripts.story.operator import Operator
from scripts.story.proof import Story

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
    why_not = host.missing() if wanted != "embedded" else "OTOBOTCTL_DEMO_TARGET=embedded"
    if wanted == "lab" and why_not:
        raise RuntimeError(f"no lab here: {why_not}")
    story.target = "embedded PostgreSQL" if why_not else "embedded PostgreSQL, and a real host of the lab"
    story.say(f"target: {story.target}" + (f" (no real host: {why_not})" if why_not else ""))
    keep = os.environ.get("OTOBOTCTL_DEMO_KEEP") == "1"
    with place.directory("demo", keep=keep) as directory:
        (directory / "home").mkdir(mode=0o700)
        operator = Operator(directory / "home", directory / "fleet")
        fleet.tell(story, operator)
        rendered = fleet.tell_rendering(story, operator, directory)
        with credential.ground(story, rendered, directory) as ground:
            credential.tell(story, ground)
            _say_where(story, operator, rendered, ground)
        if not why_not:
            host.tell(story, operator)
    if keep:
        story.say(f"\nkept: {directory} (secrets in it; remove it when you have looked)")


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
