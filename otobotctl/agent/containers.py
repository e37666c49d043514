"""Every Compose container of the host in one question, whatever its project."""

from __future__ import annotations

import re
from typing import Any, Dict, List

from otobotctl.agent.run import ProbeError
from otobotctl.agent.shell import NOT_FOUND, ask

_LABELS = ("project", "service", "oneoff")
_FORMAT = "\t".join([*('{{.Label "com.docker.compose.%s"}}' % name for name in _LABELS), "{{.State}}", "{{.Status}}"])
_ARGV = ("docker", "ps", "--all", "--no-trunc", "--filter", "label=com.docker.compose.project", "--format", _FORMAT)
_EXITED = re.compile(r"Exited \((\d+)\)")
_HEALTH = re.compile(r"\((?:health: )?(healthy|unhealthy|starting)\)")
_TIMEOUT_S = 60.0  # after a boot Docker answers when it has read all of its containers, and not before


def by_project() -> Dict[str, List[Dict[str, Any]]]:
    """The containers of each project as compose.service_states() reads them; {} where there is no Docker.

    Raises:
        ProbeError: Docker is there and does not answer.
    """
    answer = ask(_ARGV, timeout_s=_TIMEOUT_S)
    if answer.status == NOT_FOUND:
        return {}
    if answer.status:
        raise ProbeError("docker ps: {}".format(answer.stderr.strip()))
    return parse(answer.stdout)


def parse(stdout: str) -> Dict[str, List[Dict[str, Any]]]:
    """Lines of project, service, oneoff, state and status, tabs between them."""
    found: Dict[str, List[Dict[str, Any]]] = {}
    for line in stdout.splitlines():
        fields = line.split("\t")
        if len(fields) != len(_LABELS) + 2:
            continue
        project, service, oneoff, state, status = fields
        exited, health = _EXITED.search(status), _HEALTH.search(status)
        found.setdefault(project, []).append(
            {
                "Service": service,
                "State": state,
                "Health": health[1] if health else "",
                "ExitCode": int(exited[1]) if exited else 0,
                "Labels": "com.docker.compose.oneoff={}".format(oneoff),
            }
        )
    return found
