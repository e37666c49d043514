"""How a host is, in one question: the machine, its releases and containers, the certificates it serves."""

from __future__ import annotations

from typing import Any, Dict, Optional

from otobotctl.agent import compose, containers, machine, notes, served
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import ProbeError, Run, StepError

_HERE = ("127.0.0.1", 443)


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer everything machine.state() does, docker_error (or None), releases and certificates.

    `projects` ({client: Compose project}) and `names` (host names that are served) are what to look at. A release is
    current (number or None), digest, healthy (the newest that was), services ({service: state}) and trouble, both
    empty where Docker does not answer; and archive, the note of the last one, a backup's too (notes.py), or None.
    """
    trouble = None
    try:
        found = containers.by_project()
    except ProbeError as error:
        found, trouble = {}, str(error)
    releases = {
        client: _release(client, None if trouble else compose.service_states(found.get(project, ())))
        for client, project in params["projects"].items()
    }
    return {
        **machine.state(),
        "docker_error": trouble,
        "releases": releases,
        "certificates": {name: served.certificate(name, _HERE) for name in params["names"]},
    }


def apply(params: Dict[str, Any], run: Run) -> None:  # noqa: ARG001
    """Refuse: there is nothing to apply. Raises StepError."""
    raise StepError("host_status only looks")


def _release(client: str, states: Optional[Dict[str, str]]) -> Dict[str, Any]:
    here = Releases(client)
    number = here.current()
    record = {} if number is None else here.record(number)
    return {
        "current": number,
        "digest": record.get("digest"),
        "healthy": here.healthy(),
        "archive": notes.newest(client),
        "services": states or {},
        "trouble": {} if states is None else compose.wrong(states, record.get("services", ()), record.get("once", ())),
    }
