"""Docker Compose: how it is called, and how its answers read."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, Iterable, List

from otobotctl.agent.lines import decode
from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import NOT_FOUND, ask

LOG_LINES = 30
_STAMP = re.compile(r"([0-9T:-]{19})(\.[0-9]+)?(Z|[+-][0-9:]{5,6})")
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")  # Compose 2.26 begins each line of a log by clearing the terminal's
_NO_COMPOSE = "docker has no compose plugin on this host; add a package step for it before this one"
_WORST_FIRST = ("dead", "exited", "unhealthy", "restarting", "removing", "paused", "created", "starting")


def argv(project: str, directory: str, *words: str) -> List[str]:
    """The command line for a project whose files are in `directory`, symlinks in that path left as they are."""
    file = os.path.join(directory, "compose.yaml")
    return ["docker", "compose", "--project-name", project, "--project-directory", directory, "--file", file, *words]


def model(project: str, directory: str, run: Run) -> Dict[str, Any]:
    """The project as Compose reads it, checked. It holds secrets: it is never said. Raises StepError."""
    answer = ask(argv(project, directory, "config", "--format", "json"))
    if answer.status == 0:
        found: Dict[str, Any] = decode(answer.stdout)
        return found
    for line in answer.stderr.splitlines():
        run.say(line)
    if answer.status == NOT_FOUND:
        raise StepError("docker is not on this host; add a step that installs it before this one")
    if not _has_compose():
        raise StepError(_NO_COMPOSE)
    raise StepError("docker compose does not accept this release")


def variables(found: Dict[str, Any], service: str) -> Dict[str, str]:
    """What a service's container of a model gets as its environment. Secrets are among it."""
    body = found["services"].get(service, {}).get("environment") or {}
    return {name: str(value).replace("$$", "$") for name, value in body.items()}


def services(found: Dict[str, Any]) -> List[str]:
    """The services of a model that have containers, in the order of their names."""
    return sorted(name for name, body in found.get("services", {}).items() if _replicas(body) > 0)


def once(found: Dict[str, Any]) -> List[str]:
    """The services of a model that others wait for to end well: their containers end."""
    names = set()
    for body in found.get("services", {}).values():
        for name, how in (body.get("depends_on") or {}).items():
            if how.get("condition") == "service_completed_successfully":
                names.add(name)
    return sorted(names)


def stateless(found: Dict[str, Any]) -> Dict[str, Dict[str, Any]]:
    """The services of a model that change without a pause: digest, drain_s, and what has to be up after (before it)."""
    marked = {}
    for name, body in found.get("services", {}).items():
        labels = body.get("labels") or {}
        if "otobot.drain" in labels and "otobot.digest" in labels:
            after = sorted(_dependencies(found["services"], name))
            marked[name] = {"digest": labels["otobot.digest"], "drain_s": float(labels["otobot.drain"]), "after": after}
    return marked


def _dependencies(bodies: Dict[str, Any], name: str) -> "set[str]":
    """What a service waits for, directly and through others."""
    known: "set[str]" = set()
    waiting = list(bodies[name].get("depends_on") or {})
    while waiting:
        other = waiting.pop()
        if other not in known and other in bodies:
            known.add(other)
            waiting += list(bodies[other].get("depends_on") or {})
    return known


def running_images(found: Dict[str, Any]) -> Dict[str, str]:
    """What each service of a model runs."""
    return {name: body.get("image", "") for name, body in found.get("services", {}).items()}


def images(found: Dict[str, Any]) -> List[str]:
    """The images of a model that come from a registry."""
    bodies = found.get("services", {}).values()
    pulled = [body for body in bodies if "build" not in body and body.get("pull_policy") not in ("never", "build")]
    return sorted({body["image"] for body in pulled if body.get("image")})


def states(project: str) -> Dict[str, str]:
    """What the containers of each service of a project do now, see service_states(). Raises ProbeError."""
    answer = ask(["docker", "compose", "--project-name", project, "ps", "--all", "--format", "json"])
    if answer.status == NOT_FOUND:
        return {}
    if answer.status and not _has_compose():
        raise ProbeError(_NO_COMPOSE)
    if answer.status:
        raise ProbeError("docker compose ps: {}".format(answer.stderr.strip()))
    return service_states(parse_ps(answer.stdout))


def _has_compose() -> bool:
    return not ask(["docker", "compose", "version"]).status


def parse_ps(stdout: str) -> List[Dict[str, Any]]:
    """`docker compose ps --format json`: one object a line, or one array in versions before 2.21."""
    text = stdout.strip()
    if text.startswith("["):
        found: List[Dict[str, Any]] = decode(text)
        return found
    return [decode(line) for line in text.splitlines() if line.strip()]


def service_states(containers: Iterable[Dict[str, Any]]) -> Dict[str, str]:
    """One word or two a service, of its worst container: healthy, running (no health check), starting, exited (1)..."""
    found: Dict[str, str] = {}
    for container in containers:
        if "com.docker.compose.oneoff=True" in str(container.get("Labels")):
            continue  # somebody's `docker compose run`
        name, state = container["Service"], _state(container)
        if name not in found or _rank(state) < _rank(found[name]):
            found[name] = state
    return found


def wrong(found: Dict[str, str], expected: Iterable[str], ended: Iterable[str]) -> Dict[str, str]:
    """The services that are not as they should be, and how they are: absent, not wanted, or the state."""
    wanted, may_end = list(expected), set(ended)
    trouble = {name: found.get(name, "absent") for name in wanted if not _is_well(found.get(name), name in may_end)}
    trouble.update({name: "not wanted" for name in found if name not in wanted})
    return trouble


def logs(project: str, directory: str, names: Iterable[str]) -> List[str]:
    """The last log lines of these services, each with its service's name before it."""
    said = []
    for name in names:
        words = ("logs", "--no-color", "--no-log-prefix", "--tail", str(LOG_LINES), name)
        answer = ask(argv(project, directory, *words))
        said += ["{} | {}".format(name, line) for line in _CONTROL.sub("", answer.stdout + answer.stderr).splitlines()]
    return said


def of_project(project: str) -> str:
    """What Docker's --filter takes for all that Compose has made of a project."""
    return "label=com.docker.compose.project={}".format(project)


def listed(project: str, form: str) -> str:
    """What `docker ps` tells of a project's containers, the newest first; "" without Docker. Raises StepError."""
    answer = ask(["docker", "ps", "--all", "--no-trunc", "--filter", of_project(project), "--format", form])
    if answer.status and answer.status != NOT_FOUND:
        raise StepError("docker ps: {}".format(answer.stderr.strip()))
    return answer.stdout


def took(project: str, since: float) -> Dict[str, float]:
    """How many seconds the containers made after `since` (Unix seconds) took to be healthy, by service."""
    idents = ask(["docker", "ps", "--no-trunc", "--quiet", "--filter", of_project(project)]).stdout.split()
    answer = ask(["docker", "inspect", "--type", "container", "--", *idents]) if idents else None
    try:
        return took_s(decode(answer.stdout), since) if answer and not answer.status else {}
    except (ValueError, KeyError, AttributeError):
        return {}  # only a plan's words become poorer


def took_s(inspected: Iterable[Dict[str, Any]], since: float) -> Dict[str, float]:
    """The same from what `docker inspect` says; containers without a health check have no answer."""
    found = {}
    for each in inspected:
        made = unix(each["Created"])
        checks = (each["State"].get("Health") or {}).get("Log") or []
        well = [unix(check["End"]) for check in checks if check["ExitCode"] == 0]
        if well and made >= since:
            found[each["Config"]["Labels"]["com.docker.compose.service"]] = round(min(well) - made, 1)
    return found


def unix(stamp: str) -> float:
    """The Unix seconds of a time as Docker writes it: "2026-11-21T18:17:01.891010029Z", or with "+01:00"."""
    from datetime import datetime  # an observation needs none

    seconds, fraction, zone = _STAMP.fullmatch(stamp).groups()  # type: ignore[union-attr]
    offset = "+0000" if zone == "Z" else zone.replace(":", "")
    return datetime.strptime(seconds + offset, "%Y-%m-%dT%H:%M:%S%z").timestamp() + float(fraction or 0)


def _state(container: Dict[str, Any]) -> str:
    state = str(container.get("State", ""))
    if state == "running":
        return str(container.get("Health") or "running")
    if state == "exited":
        code = container.get("ExitCode", 0)
        return "exited ({})".format(code) if code else "ended"
    return state


def _rank(state: str) -> int:
    word = state.split(" ", maxsplit=1)[0]
    return _WORST_FIRST.index(word) if word in _WORST_FIRST else len(_WORST_FIRST)


def _is_well(state: Any, may_end: bool) -> bool:
    return state in ("healthy", "running") or (may_end and state == "ended")


def _replicas(body: Dict[str, Any]) -> int:
    wanted = (body.get("deploy") or {}).get("replicas", body.get("scale", 1))
    return 1 if wanted is None else int(wanted)
