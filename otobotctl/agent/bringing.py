"""Brings a release up, and goes back to the one before when it does not become healthy."""

from __future__ import annotations

import time
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Sequence

from otobotctl.agent import backoff, compose, halfway, rolling
from otobotctl.agent.protocol import TAKEN_BACK
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import ask

SETTLE_S = 2.0  # a container without a health check counts as up when its program has only just begun
_POLL_S = 0.5


class Trouble(NamedTuple):
    """What is wrong with which service, and the last lines of what their containers said."""

    services: Dict[str, str]
    lines: List[str]

    def told(self) -> str:
        """The services and their states, in one line; what is the same of several is said once."""
        alike: Dict[str, List[str]] = {}
        for name, state in sorted(self.services.items()):
            alike.setdefault(state, []).append(name)
        return ", ".join("{}: {}".format(" and ".join(names), state) for state, names in alike.items())


class Project(NamedTuple):
    """A client's Compose project. A release that is not healthy after `wait_s` seconds will not be."""

    here: Releases
    name: str
    wait_s: int


def bring_up(project: Project, number: int, run: Run) -> None:
    """Make `number` the current release, up and healthy, or the one that was healthy before. Raises StepError."""
    here, before = project.here, project.here.healthy()
    touched = not here.settled()
    here.unsettle()
    if here.current() != number:
        here.switch(number)
        run.say("current is release {}".format(number))
    begun = time.time()
    trouble = _start(project, number, run, touched)
    if trouble:
        try:
            raise StepError(*_go_back(project, number, before, trouble.told(), run))
        finally:
            # Last, because the last lines are what the operator is shown; their containers are gone by now.
            _say(trouble.lines, run)
    here.settle(number, compose.took(project.name, begun))
    run.say("release {} is healthy".format(number))


def _start(project: Project, number: int, run: Run, touched: bool) -> Optional[Trouble]:
    """Bring `current` up; return what is wrong with it, None when all is well.

    `touched`: containers of another release may run beside those of this one.
    """
    record = project.here.record(number)
    stateless = _stateless(record)
    halfway.tidy(project.name, run)
    trouble = _stand_in(project, record, stateless, run, touched)
    if trouble:
        return trouble
    wrong = _up(project, record, run)
    if not wrong:
        for wanted in stateless:
            rolling.finish(project.name, project.here.link, wanted, run)
        wrong = _smoke(project, record, run)
    return Trouble(wrong, compose.logs(project.name, project.here.link, sorted(wrong))) if wrong else None


def _stateless(record: Dict[str, Any]) -> List[rolling.Wanted]:
    found = sorted((record.get("stateless") or {}).items())
    return [rolling.Wanted(name, said["digest"], float(said["drain_s"])) for name, said in found]


def _up(project: Project, record: Dict[str, Any], run: Run) -> Dict[str, str]:
    expected, once = record.get("services", []), record.get("once", [])
    words = ("up", "--detach", "--remove-orphans", "--quiet-pull", "--wait", "--wait-timeout", str(project.wait_s))
    failure = _compose(project, words, run)
    found = compose.states(project.name)
    trouble = compose.wrong(found, expected, once)
    if not trouble and not failure and "running" in found.values():
        time.sleep(SETTLE_S)
        trouble = compose.wrong(compose.states(project.name), expected, once)
    if failure and trouble:
        # The states alone ("created") do not say why; Compose did.
        trouble[max(trouble)] += "; " + failure
    return trouble or (dict.fromkeys(expected, failure) if failure else {})


def _compose(project: Project, words: Sequence[str], run: Run) -> str:
    """Let Compose bring something up; return why it could not, "" when all is well."""
    argv = compose.argv(project.name, project.here.link, *words)
    try:
        backoff.around(project.name, lambda: run.command(argv), StepError, run.say)
    except StepError as error:
        return str(error)
    return ""


def _stand_in(
    project: Project, record: Dict[str, Any], stateless: List[rolling.Wanted], run: Run, touched: bool
) -> Optional[Trouble]:
    """Let stand-ins answer for the stateless services that change, each once what it waits for is there."""
    for wanted in stateless:
        if not rolling.pending(project.name, wanted, touched):
            rolling.accept(project.name, wanted)
            continue
        after = record["stateless"][wanted.service]["after"]
        trouble = _first(project, after, record.get("once", []), run)
        if trouble:
            return Trouble(trouble, compose.logs(project.name, project.here.link, sorted(trouble)))
        wrong, lines = rolling.prepare(project.name, project.here.link, wanted, project.wait_s, run)
        if wrong:
            return Trouble({wanted.service: wrong}, lines)
    return None


def _first(project: Project, names: List[str], once: Iterable[str], run: Run) -> Dict[str, str]:
    """Bring up what a stateless service waits for, migrations among it; return what is wrong with that."""
    if not names:
        return {}
    failure = _compose(project, ("up", "--detach", "--quiet-pull", *names), run)
    if failure:
        return dict.fromkeys(names, failure)
    deadline = time.monotonic() + project.wait_s
    while True:
        found = {name: state for name, state in compose.states(project.name).items() if name in names}
        busy = [name for name in once if found.get(name) == "running"]
        trouble = compose.wrong(found, names, once)
        if not busy and not trouble:
            return {}
        if any(not _may_become_well(state) for state in trouble.values()) or time.monotonic() > deadline:
            return trouble or dict.fromkeys(busy, "does not end")
        time.sleep(_POLL_S)


def _may_become_well(state: str) -> bool:
    return state in ("starting", "created", "running", "absent")


def _smoke(project: Project, record: Dict[str, Any], run: Run) -> Dict[str, str]:
    """Run the smoke tests of the release's services; return the services that fail theirs."""
    for test in record.get("smoke") or []:
        name = test["service"]
        words = ("exec", "-T", name, *test["argv"])
        try:
            answer = ask(compose.argv(project.name, project.here.link, *words), timeout_s=float(test["timeout_s"]))
            said = (answer.stderr or answer.stdout).strip().splitlines()[-1:]
            why = "ended with {}{}".format(answer.status, ": " + said[0] if said else "") if answer.status else ""
        except ProbeError as error:
            why = str(error)
        if why:
            return {name: "its smoke test {} {}".format(test["argv"][0], why)}
        run.say("{}: its smoke test passed".format(name))
    return {}


def _go_back(project: Project, number: int, before: Optional[int], what: str, run: Run) -> "tuple[str, str]":
    """After a release that did not become healthy, bring back the one before. Returns what to say, and its code."""
    here = project.here
    if before == number:
        for wanted in _stateless(here.record(number)):
            rolling.accept(project.name, wanted)
        return "release {} is not healthy ({}); it was before, so it stays".format(number, what), ""
    said = "release {} did not become healthy ({})".format(number, what)
    if before is None:
        rolling.sweep(project.name)
        run.command(compose.argv(project.name, here.link, "down", "--remove-orphans"))
        here.forget_current()
        here.remove(number)
        return said + "; there is none to go back to, so its containers were removed and its volumes kept", ""
    run.say("back to release {}".format(before))
    here.switch(before)
    again = _start(project, before, run, touched=True)
    if not here.ran(number):
        here.remove(number)
    if again:
        _say(again.lines, run)
        return said + "; release {} is back and not healthy either ({})".format(before, again.told()), ""
    here.settle(before)
    return said + "; release {} is back and healthy".format(before), TAKEN_BACK


def _say(lines: Iterable[str], run: Run) -> None:
    for line in lines:
        run.say(line)
