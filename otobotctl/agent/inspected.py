"""Every container of the host as Docker inspects it; of its environment only lengths and shapes."""

from __future__ import annotations

import json
import re
from typing import Any, Dict, List

from otobotctl.agent.run import ProbeError
from otobotctl.agent.shell import NOT_FOUND, ask

_PROJECT = "com.docker.compose.project"
_LIST = ("docker", "ps", "--all", "--quiet", "--no-trunc")
_SHAPES = (("hex", "[0-9a-fA-F]+"), ("alnum", "[0-9A-Za-z]+"), ("base64url", "[0-9A-Za-z_=-]+"))
_TIMEOUT_S = 30.0


def raw() -> List[Dict[str, Any]]:
    """What `docker inspect` says of every container, secrets and all: it never leaves the host.

    Raises:
        ProbeError: Docker is there and does not answer.
    """
    listed = ask(_LIST, timeout_s=_TIMEOUT_S)
    if listed.status == NOT_FOUND:
        return []
    if listed.status:
        raise ProbeError("docker ps: {}".format(listed.stderr.strip()))
    names = listed.stdout.split()
    if not names:
        return []
    # A container that went meanwhile makes inspect fail, and it tells of the others all the same.
    found = ask(["docker", "inspect", "--type", "container", *names], timeout_s=_TIMEOUT_S)
    try:
        return list(json.loads(found.stdout))
    except ValueError:
        raise ProbeError("docker inspect: {}".format(found.stderr.strip())) from None


def told(container: Dict[str, Any]) -> Dict[str, Any]:
    """What may leave the host of one container.

    name, id, project and service (Compose's; "" of a container that is not), image, once (a `run` of somebody), state,
    exit_code, error, oom_killed, restarts, started (ISO 8601), health ("" without a check), failing (checks in a row),
    published ([address, port] on the host)
    and environment ({name: [length, shape]}).
    """
    state, labels = container["State"], container["Config"].get("Labels") or {}
    health = state.get("Health") or {}
    return {
        "name": container["Name"].lstrip("/"),
        "id": container["Id"],
        "project": labels.get(_PROJECT, ""),
        "service": labels.get("com.docker.compose.service", ""),
        "image": container["Config"].get("Image", ""),
        "once": labels.get("com.docker.compose.oneoff") == "True",
        "state": state.get("Status", ""),
        "exit_code": state.get("ExitCode", 0),
        "error": str(state.get("Error") or "")[:300],
        "oom_killed": bool(state.get("OOMKilled")),
        "restarts": container.get("RestartCount", 0),
        "started": state.get("StartedAt", ""),
        "health": health.get("Status", "") if health.get("Status") != "none" else "",
        "failing": health.get("FailingStreak", 0),
        "published": published(container),
        "environment": {name: [len(value), shape(value)] for name, value in environment(container).items()},
    }


def environment(container: Dict[str, Any]) -> Dict[str, str]:
    """The variables that a container was made with. Secrets are among them."""
    pairs = (each.partition("=") for each in container["Config"].get("Env") or ())
    return {name: value for name, _, value in pairs}


def published(container: Dict[str, Any]) -> List[List[Any]]:
    """Where a container that runs or will run can be reached on the host: [address, port], in order."""
    bound = (container.get("HostConfig") or {}).get("PortBindings") or {}
    live = (container.get("NetworkSettings") or {}).get("Ports") or {}
    found = set()
    for ports in (bound, live):
        for each in ports.values():
            for one in each or ():
                if str(one.get("HostPort") or "").isdigit():
                    found.add((one.get("HostIp") or "0.0.0.0", int(one["HostPort"])))
    return [list(each) for each in sorted(found)]


def shape(value: str) -> str:
    """What a value is made of: empty, hex, alnum, base64url, or text (anything else)."""
    if not value:
        return "empty"
    return next((name for name, pattern in _SHAPES if re.fullmatch(pattern, value)), "text")


def marks(container: str, since: str, words: Dict[str, str]) -> List[str]:
    """Which of `words` ({name: pattern}) a container's log has since its last start; nothing of the log itself."""
    answer = ask(["docker", "logs", "--tail", "200", "--since", since, container], timeout_s=_TIMEOUT_S)
    text = answer.stdout + answer.stderr
    return sorted(name for name, pattern in words.items() if re.search(pattern, text, re.IGNORECASE))
