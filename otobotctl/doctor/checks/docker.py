"""Docker's daemon is there and answers ("Cannot connect to the Docker daemon")."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor import steps
from otobotctl.doctor.model import Case, Check, Finding, Fix


def judge(case: Case) -> Iterator[Finding]:
    """Absent, or not answering."""
    facts, host = case.facts or {}, case.host.name
    if not facts["docker"]:
        if case.clients:
            yield Finding("critical", host, "Docker is not installed", f"otobotctl host apply {host}")
    elif facts["docker_error"]:
        yield Finding(
            "critical",
            host,
            f"Docker's daemon does not answer: {facts['docker_error']}",
            f"otobotctl doctor {host} --fix",
            Fix("start docker", (steps.service("docker"),)),
        )


CHECK = Check("docker", "Docker's daemon is there and answers.", judge)
