"""Nothing but SSH and the proxy can be reached from outside: Docker's published ports go around ufw."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from otobotctl.doctor.checks.inside_ports import PUBLIC
from otobotctl.doctor.model import Case, Check, Finding


def judge(case: Case) -> Iterator[Finding]:
    """What a container publishes beyond loopback, and what answered from outside although it should not."""
    facts = case.facts or {}
    allowed = {*PUBLIC, case.host.port, 22}
    for each in facts["containers"]:
        for address, port in each["published"]:
            if port not in allowed and not _loopback(address):
                yield Finding(
                    "critical",
                    case.subject(each),
                    f"publishes {address}:{port}, which Docker lets around the firewall",
                    f"otobotctl host apply {case.host.name}"
                    if each["project"]
                    else f"ssh {case.host.address} sudo docker rm --force {each['name']}",
                )
    for (address, port), answered in (case.outside.ports if case.outside else {}).items():
        if answered and port not in allowed:
            yield Finding(
                "critical",
                case.host.name,
                f"port {port} of {address} answers from outside",
                f"otobotctl host apply {case.host.name}; ssh {case.host.address} sudo ss -Hltnp tells what it is",
            )


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


CHECK = Check("bypass", "Nothing but SSH and the proxy can be reached from outside.", judge)
