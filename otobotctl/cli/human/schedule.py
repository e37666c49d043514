"""What is planned for a client's archives, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.cli import output

if TYPE_CHECKING:
    from otobotctl.workflows.backup.schedule import Schedule


def schedule(found: Schedule) -> str:
    """When, a row for each target, and what to place at storages."""
    keep = ", ".join(f"{count} {word}" for word, count in found.keep.items() if count) or "none"
    when = f"next {_when(found, 'run')}" if found.schedule != "never" else "by hand alone: otobotctl backup run"
    rpo = f"at most {found.rpo_h} h old" if found.rpo_h else "of any age"
    lines = [
        f"{found.client} on {found.host}: {found.schedule}, {when}",
        f"  checked: next {_when(found, 'verify')}; drill: next {_when(found, 'drill')}, every {found.drill_days} days",
        f"  kept: {keep}; promised: {rpo}, back in {found.rto_min} min",
    ]
    rows = [
        (each.target, each.state, "yes" if each.append_only else "no", each.repository, ", ".join(each.secrets) or "-")
        for each in found.targets
    ]
    lines += ["", output.table(("TARGET", "REPOSITORY IS", "APPEND ONLY", "WHERE", "CREDENTIALS"), rows)]
    if found.public_key:
        lines += ["", "Place this at the SFTP storages, in ~/.ssh/authorized_keys of their user:", found.public_key]
    if found.todo:
        lines += ["", f"next: {found.todo}"]
    return "\n".join(lines)


def _when(found: Schedule, word: str) -> str:
    at = found.next.get(word)
    if at is None:
        return "unknown" if found.deployed else "from the next deploy on"
    return at.replace("T", " ").replace("Z", " UTC")
