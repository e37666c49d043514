"""From the operator's machine, TLS comes about under every name, and this machine believes what it is shown."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding


def judge(case: Case) -> Iterator[Finding]:
    """A handshake that fails, and a certificate that nobody but its maker believes where ACME was meant."""
    acme = {name for _, source, names in case.served() if source == "acme" for name in names}
    owner = {name: subject for subject, _, names in case.served() for name in names}
    for each in case.outside.handshakes if case.outside else ():
        subject = owner.get(each.name, case.host.name)
        if each.error:
            yield Finding(
                "critical",
                subject,
                f"no TLS with {each.name} at {each.address}: {each.error}",
                f"otobotctl doctor {case.host.name}; otobotctl host apply {case.host.name}",
            )
        elif each.trusted and each.name in acme:
            yield Finding(
                "warning",
                subject,
                f"this machine does not believe the certificate of {each.name} at {each.address}: {each.trusted}",
                case.renewal,
            )


CHECK = Check("tls", "TLS comes about from outside, and is believed.", judge, needs="outside")
