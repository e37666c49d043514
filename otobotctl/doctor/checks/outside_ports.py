"""From the operator's machine, over IPv4 and IPv6: SSH and the proxy answer."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.checks.inside_ports import PUBLIC
from otobotctl.doctor.model import Case, Check, Finding


def judge(case: Case) -> Iterator[Finding]:
    """SSH or the proxy, refused or silent at an address of the host."""
    seen = case.outside
    if seen is None:
        return
    served = any(case.wanted.names.values())
    for address in seen.targets:
        wanted = (case.host.port, *(PUBLIC if served else ()))
        shut = [port for port in wanted if seen.ports.get((address, port)) is False]
        if not shut:
            continue
        ports = ", ".join(map(str, shut))
        many = "s" if len(shut) > 1 else ""
        # A network that has lost its IPv6 says nothing about the host.
        ours = ":" in address and len(shut) == len(wanted) and any(seen.ports.get((each, 443)) for each in seen.targets)
        yield Finding(
            "warning" if ours else "critical",
            case.host.name,
            f"port{many} {ports} of {address} cannot be reached from here",
            "try from another network: does this one have IPv6?"
            if ours
            else f"otobotctl host plan {case.host.name}; where that is empty, look at the provider's own firewall",
        )


CHECK = Check("outside_ports", "SSH and the proxy answer from outside.", judge, needs="outside")
