"""What the doctor found, on one screen."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

from otobotctl.cli import output
from otobotctl.cli.human import amounts

if TYPE_CHECKING:
    from otobotctl.workflows.doctor.doctor import Examined, Row, Visit

_COLOURS = {"critical": "\x1b[31m", "warning": "\x1b[33m", "info": "\x1b[2m"}
_PLAIN = "\x1b[0m"


def screen(found: Visit) -> str:
    """Each host: what was done, what is wrong and its remedy, and what could not be looked at."""
    parts = ["\n".join(_host(host)) for host in found.hosts]
    total = ", ".join(f"{count} {severity}" for severity, count in found.counts.items() if count) or "nothing found"
    return "\n\n".join((*parts, f"{amounts.many(len(found.hosts), 'host')}: {total}; {found.at}"))


def _host(host: Examined) -> Iterator[str]:
    state = "healthy" if host.healthy else "not well"
    yield f"{host.host}: {state} ({amounts.many(len(host.made), 'check')}, {host.took_s:.1f} s)"
    for fixed in host.fixed:
        yield f"  did: {fixed.title}" if not fixed.error else f"  failed: {fixed.title}: {fixed.error}"
    for row in host.findings:
        yield from _row(row)
    unseen: dict[str, list[str]] = {}
    for skipped in host.skipped:
        unseen.setdefault(skipped.why, []).append(skipped.check)
    for why, checks in unseen.items():
        yield f"  not looked at: {', '.join(checks)}: {why}"


def _row(row: Row) -> Iterator[str]:
    severity = row.severity.ljust(8)
    if output.coloured(sys.stdout):
        severity = f"{_COLOURS[row.severity]}{severity}{_PLAIN}"
    fixable = "  (--fix can)" if row.fixable else ""
    yield f"  {severity}  {row.subject}: {row.seen}"
    yield f"            -> {row.remedy}{fixable}"
