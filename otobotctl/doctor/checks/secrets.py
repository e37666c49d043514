"""No secret is older than its policy allows. Needs no key."""

from __future__ import annotations

from collections.abc import Iterator

from otobotctl.doctor.model import Case, Check, Finding


def judge(case: Case) -> Iterator[Finding]:
    """One finding a client, for all of its secrets that are overdue; another for those that are due soon."""
    for client in case.clients:
        due = case.wanted.due.get(client.slug, ())
        late = [name for name, days in due if days < 0]
        soon = [(name, days) for name, days in due if days >= 0]
        remedy = f"otobotctl secrets rotate {client.slug} --due"
        if late:
            many = "s are" if len(late) > 1 else " is"
            yield Finding("warning", client.slug, f"{len(late)} secret{many} overdue: {', '.join(late)}", remedy)
        if soon:
            first = min(days for _, days in soon)
            names = ", ".join(name for name, _ in soon)
            yield Finding("info", client.slug, f"to be rotated soon, the first in {first:.0f} days: {names}", remedy)


CHECK = Check("secrets", "No secret is older than its policy allows.", judge, needs="fleet")
