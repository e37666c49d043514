"""The containers of one Compose project as they run now: which they are, stopped and started again as they were."""

from __future__ import annotations

from typing import List, NamedTuple, Sequence

from otobotctl.agent import compose
from otobotctl.agent.run import ProbeError
from otobotctl.agent.shell import NOT_FOUND, Answer, ask

_GRACE_S = 60
_LIMIT_S = 300.0


class Running(NamedTuple):
    """A container that runs."""

    container: str
    service: str


def running(project: str) -> List[Running]:
    """The running containers of a project; none where there is no Docker. Raises ProbeError: it does not answer."""
    shown = '{{.ID}}\t{{.Label "com.docker.compose.service"}}'
    answer = ask(["docker", "ps", "--no-trunc", "--filter", compose.of_project(project), "--format", shown])
    if answer.status == NOT_FOUND:
        return []
    _check(answer, "docker ps")
    return [Running(*line.split("\t")) for line in answer.stdout.splitlines() if "\t" in line]


def left(project: str) -> bool:
    """Whether a container, running or not, or a volume of the project is on the host. Raises ProbeError."""
    for argv in (("docker", "ps", "--all"), ("docker", "volume", "ls")):
        answer = ask([*argv, "--quiet", "--filter", compose.of_project(project)])
        if answer.status == NOT_FOUND:
            return False
        _check(answer, " ".join(argv[:2]))
        if answer.stdout.strip():
            return True
    return False


def stop(containers: Sequence[Running]) -> None:
    """Stop them, a minute's grace for each. Raises ProbeError."""
    if containers:
        argv = ["docker", "stop", "--time", str(_GRACE_S), *(each.container for each in containers)]
        _check(ask(argv, timeout_s=_LIMIT_S), "docker stop")


def start(containers: Sequence[Running]) -> None:
    """Start them again. Raises ProbeError."""
    if containers:
        _check(ask(["docker", "start", *(each.container for each in containers)], timeout_s=_LIMIT_S), "docker start")


def _check(answer: Answer, what: str) -> None:
    if answer.status:
        raise ProbeError("{}: {}".format(what, answer.stderr.strip()))
