"""Every variable that a service needs is in its container. Values are not seen: the host tells length and shape."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding
from otobotctl.render import layout


def judge(case: Case) -> Iterator[Finding]:
    """Variables that a container lacks, or has without a value."""
    for client in case.clients:
        wanted = case.wanted.variables.get(client.slug, {})
        for each in case.containers(layout.project(client.slug)):
            asked, there = wanted.get(each["service"], {}), each["environment"]
            absent = sorted(name for name in asked if name not in there)
            empty = sorted(name for name, one in asked.items() if one.filled and there.get(name, (1, ""))[0] == 0)
            for names, said in ((absent, "is not there"), (empty, "is empty")):
                if names:
                    verb = said if len(names) == 1 else said.replace("is", "are", 1)
                    # A setting may be newer than the release; without a secret nothing of it works.
                    vital = any(asked[name].secret for name in names)
                    yield Finding(
                        "critical" if vital else "warning",
                        f"{client.slug}/{each['service']}",
                        f"{', '.join(names)} {verb} in its environment",
                        f"otobotctl client deploy {client.slug}",
                    )


CHECK = Check("environment", "Every variable that a service needs is there.", judge)
