"""On the host itself: every port that a release publishes answers, and the proxy's too."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding
from otobotctl.render import layout

PUBLIC = (80, 443)


def judge(case: Case) -> Iterator[Finding]:
    """Nothing listens where something should, or another program does ("port is already allocated")."""
    facts = case.facts or {}
    if facts["docker_error"]:
        return  # it is what listens for them
    listening = {port for _, port in facts["listening"]}
    for client, services in case.wanted.ports.items():
        down = facts["releases"].get(client, {}).get("trouble", {})
        for service, ports in services.items():
            for port in ports:
                if port not in listening and service not in down:
                    yield Finding(
                        "critical",
                        f"{client}/{service}",
                        f"nothing listens on 127.0.0.1:{port} of {case.host.name}",
                        f"otobotctl client deploy {client}",
                    )
    front = facts["releases"].get(layout.FRONT)
    if front and front["current"] is not None and not front["trouble"]:
        for port in PUBLIC:
            if port not in listening:
                yield Finding(
                    "critical",
                    layout.FRONT,
                    f"nothing listens on port {port}",
                    f"otobotctl host apply {case.host.name}",
                )
    yield from _taken(case)


def _taken(case: Case) -> Iterator[Finding]:
    for each in (case.facts or {})["containers"]:
        if "already allocated" in each["error"] or "address already in use" in each["error"]:
            yield Finding(
                "critical",
                case.subject(each),
                f"another program has its port: {each['error']}",
                f"ssh {case.host.address} sudo ss -Hltnp",
            )


CHECK = Check("inside_ports", "Every published port answers on the host.", judge)
