"""The certificates that the proxy shows: there, by the authority that was meant, and not about to end."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding

_DAY_S = 86400
_DUE_DAYS, _DUE_SHARE = 21.0, 0.25  # with less left than both, renewal has failed
_AUTHORITIES_OF_ITS_OWN = "Caddy Local Authority"


def judge(case: Case) -> Iterator[Finding]:
    """One finding a name."""
    facts = case.facts or {}
    for subject, source, names in case.served():
        remedy = case.renewal if source == "acme" else f"otobotctl host apply {case.host.name}"
        for name in names:
            shown = facts["certificates"].get(name)
            if shown is None:
                continue
            if "error" in shown:
                yield Finding("critical", subject, f"{name} shows no certificate: {shown['error']}", remedy)
                continue
            own = shown["self_signed"] or _AUTHORITIES_OF_ITS_OWN in shown["issuer"]
            if source == "acme" and own:
                yield Finding("warning", subject, f"{name} has no certificate by ACME yet; it signs itself", remedy)
                continue
            left = (shown["not_after"] - case.now) / _DAY_S
            whole = (shown["not_after"] - shown["not_before"]) / _DAY_S
            if left < 0:
                yield Finding("critical", subject, f"the certificate of {name} ended {-left:.0f} days ago", remedy)
            elif left < min(_DUE_DAYS, _DUE_SHARE * whole):
                yield Finding(
                    "warning",
                    subject,
                    f"the certificate of {name} ends in {left:.1f} days and was not renewed",
                    remedy,
                )


CHECK = Check("certificates", "Every certificate is there, is the right one, and lasts.", judge)
