"""Every name that a host serves leads to it, over IPv4 and IPv6."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding


def judge(case: Case) -> Iterator[Finding]:
    """A name that leads nowhere, elsewhere, or by one of its addresses elsewhere."""
    seen = case.outside
    if seen is None:
        return
    own = {*seen.targets, *((case.facts or {}).get("addresses", ()))}
    for subject, _, names in case.served():
        for name in names:
            yield from _name(subject, name, seen.resolved.get(name), own)


def _name(subject: str, name: str, found: tuple[str, ...] | None, own: set[str]) -> Iterator[Finding]:
    four = next((each for each in sorted(own) if ":" not in each), "")
    record = f"at your DNS provider: {name} A {four or 'the address of the host'}"
    if found is None:
        yield Finding("info", subject, f"the name servers of this machine did not answer for {name}", f"dig {name}")
        return
    if not found:
        yield Finding("critical", subject, f"{name} does not exist in DNS", record)
        return
    wrong = [each for each in found if each not in own]
    if len(wrong) == len(found):
        yield Finding("critical", subject, f"{name} leads to {', '.join(wrong)}, which is not the host", record)
    elif wrong:
        kinds = ", ".join("AAAA" if ipaddress.ip_address(each).version == 6 else "A" for each in wrong)  # noqa: PLR2004
        yield Finding(
            "warning",
            subject,
            f"{name} also leads to {', '.join(wrong)}, which is not the host",
            f"at your DNS provider: remove that {kinds} record",
        )


CHECK = Check("dns", "Every name leads to its host.", judge, needs="outside")
