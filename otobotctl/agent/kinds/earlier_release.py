"""A client's releases as they are on the host, and the way back to one of them."""

from __future__ import annotations

from typing import Any, Dict, List

from otobotctl.agent import compose
from otobotctl.agent.bringing import Project, bring_up
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import ask

_SHOWN = ("at", "who", "digest", "images", "secrets")
_WAIT_S = 300


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer current (number or None), healthy (the one that was last), settled, and releases, oldest first.

    A release is number, at and ran_at (Unix seconds; written, last seen healthy, None: never), who, digest, images
    ({service: reference}), secrets ({name: fingerprint} of those in its files; None: not noted). Also _trouble
    ({service: what is wrong}) of the current one.
    """
    here = Releases(params["client"])
    number = here.current()
    record = {} if number is None else here.record(number)
    found = {} if number is None else compose.states(params["project"])
    return {
        "current": number,
        "healthy": here.healthy(),
        "settled": here.settled(),
        "releases": [_release(here, each) for each in here.numbers()],
        "_trouble": compose.wrong(found, record.get("services", ()), record.get("once", ())),
    }


def _release(here: Releases, number: int) -> Dict[str, Any]:
    record = here.record(number)
    return {"number": number, "ran_at": here.ran_at(number), **{name: record.get(name) for name in _SHOWN}}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Make an earlier release the current one. Raises StepError; then the one that was current is up again."""
    here, number = Releases(params["client"]), params["to"]
    here.remove_parts()
    if number not in here.numbers():
        raise StepError("release {} is not on this host any more".format(number))
    _check_images(here, number, params["project"], run)
    wait_s = here.record(number).get("wait_s") or _WAIT_S
    bring_up(Project(here, params["project"], wait_s), number, run)


def _check_images(here: Releases, number: int, project: str, run: Run) -> None:
    """Get what is missing before anything is switched; an image that was built here cannot be had again."""
    model = compose.model(project, here.path(number), run)
    pulled = compose.images(model)
    gone: List[str] = []
    for image in sorted(set(compose.running_images(model).values())):
        if not ask(["docker", "image", "inspect", "--", image]).status:
            continue
        if image in pulled:
            run.command(["docker", "pull", "--quiet", "--", image])
        else:
            gone.append(image)
    if gone:
        raise StepError("release {} runs images that are not on this host any more: {}".format(number, ", ".join(gone)))
