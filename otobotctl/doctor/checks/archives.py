"""The last archive of each client is not too old for its schedule."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from otobotctl.doctor.model import Case, Check, Finding, Severity

_HOUR_S = 3600.0
_MAKING_H: Final = 2.0  # to make one, beside how old it may be


def judge(case: Case) -> Iterator[Finding]:
    """No archive, or one that is older than the client's schedule."""
    facts = case.facts or {}
    for client in case.clients:
        limit = client.backup.rpo_h + _MAKING_H if client.backup.rpo_h else None
        found = facts["releases"].get(client.slug)
        if limit is None or not found or found["current"] is None:
            continue
        remedy = f"otobotctl client export {client.slug} --out {client.slug}.zip.age"
        if client.backup.targets:
            remedy = f"otobotctl backup run {client.slug}"
        note = found.get("archive")
        if note is not None:
            hours = (case.now - note["made"]) / _HOUR_S
            if hours > limit:
                seen = f"the last archive is {hours / 24:.1f} days old; its schedule is {client.backup.schedule}"
                yield Finding("warning", client.slug, seen, remedy)
            continue
        since = facts["since"].get(client.slug)
        hours = (case.now - since) / _HOUR_S if since else 0.0
        severity: Severity = "warning" if hours > limit else "info"  # nobody expects one in its first hours
        yield Finding(severity, client.slug, "there is no archive of it yet", remedy)


CHECK = Check("archives", "The last archive is young enough.", judge)
