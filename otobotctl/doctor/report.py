"""All findings of one host."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from otobotctl.doctor.checks import every
from otobotctl.doctor.model import SEVERITIES, Case, Check, Finding, Query

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient


@dataclass(frozen=True)
class Skipped:
    """A check that could not be made, and why."""

    check: str
    why: str


@dataclass(frozen=True)
class Diagnosis:
    """What was found of a host, the worst first; `made` are the checks that were made."""

    findings: tuple[Finding, ...]
    skipped: tuple[Skipped, ...]
    made: tuple[str, ...]


def diagnose(case: Case, checks: Sequence[Check] | None = None) -> Diagnosis:
    """Make every check whose facts there are. A check that fails in itself costs no other one."""
    findings: list[Finding] = []
    skipped: list[Skipped] = []
    made = []
    for check in every() if checks is None else checks:
        if reason := _missing(case, check):
            skipped.append(Skipped(check.name, reason))
            continue
        try:
            findings += [replace(found, check=check.name) for found in check.judge(case)]
        except Exception as error:  # noqa: BLE001 a host may answer what nobody has thought of
            skipped.append(Skipped(check.name, f"a defect of the check itself: {type(error).__name__}"))
            continue
        made.append(check.name)
    # What one cause does to many is told once, where the cause is: the first of equals stays.
    unique = {(found.check, found.subject, found.seen): found for found in reversed(findings)}
    kept = list(reversed(unique.values()))
    return Diagnosis(
        tuple(sorted(kept, key=lambda found: SEVERITIES.index(found.severity))), tuple(skipped), tuple(made)
    )


def queries(clients: Iterable[ResolvedClient], checks: Sequence[Check] | None = None) -> tuple[Query, ...]:
    """What the checks want to ask of these clients' databases, each once."""
    made = every() if checks is None else checks
    return tuple(dict.fromkeys(each for client in clients for check in made for each in check.queries(client)))


def marks(checks: Sequence[Check] | None = None) -> dict[str, dict[str, str]]:
    """What to look for in the logs of services that are not well."""
    found: dict[str, dict[str, str]] = {}
    for check in every() if checks is None else checks:
        for service, words in check.marks.items():
            found.setdefault(service, {}).update(words)
    return found


def wrong(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The findings that somebody must act on; what is only good to know is none."""
    return tuple(found for found in findings if found.severity != "info")


def _missing(case: Case, check: Check) -> str:
    if check.needs == "host" and case.facts is None:
        return "the host could not be asked"
    if check.needs == "outside" and case.outside is None:
        return "this host is not looked at from outside"
    return ""


def counted(findings: Iterable[Finding]) -> Mapping[str, int]:
    """How many there are of each severity."""
    said = [found.severity for found in findings]
    return {severity: said.count(severity) for severity in SEVERITIES}
