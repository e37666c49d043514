"""Checks, drills and prunes in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from otobotctl.agent.backup.shapes import LOG_S
from otobotctl.cli import output
from otobotctl.cli.human import amounts

if TYPE_CHECKING:
    from otobotctl.workflows.backup.proving import Drilled, Verified
    from otobotctl.workflows.backup.pruning import Pruned, Pruning


def verified(found: Verified) -> str:
    """A line for each target that is well."""
    return "\n".join(
        f"{found.client} on {each.target}: whole; {_read(each.part, each.of)} ({each.took_s:.1f} s)"
        for each in found.targets
        if each.error is None
    )


def _read(part: int, of: int) -> str:
    return "all of its data was read" if of == 1 else f"part {part} of {of} of its data was read"


def drilled(found: Drilled) -> str:
    """What came back, how long it took, and who says so."""
    report = found.report
    rows = [_part(each, report["checks"]) for each in report.get("parts", ())]
    lines = [output.table(("PART", "SIZE", "HOLDS", "TOOK", "SEEN"), rows)] if rows else []
    if "archive" in report:
        lines.append(f"archive {report['archive']} of {report['target']}: {'proved' if report['ok'] else 'not proved'}")
        promised = report["promised"]
        lines.append(
            f"a restore takes {_minutes(report['took_s'])} (promised {_minutes(promised['rto_s'])}); "
            f"at the worst moment of the last week {_minutes(report['rpo_s'])} of work would have been lost "
            f"(promised {_minutes(promised['rpo_s'])})"
        )
    if log := report.get("log"):
        lines.append(
            f"PostgreSQL's log: base {log['base']} and {log['pieces']} pieces replayed in {_minutes(log['took_s'])}, "
            f"{log['rows']} rows; its newest moment was {log['rpo_s']:.0f} s old (promised {LOG_S:.0f} s)"
        )
    lines += [
        f"of {each['stored']} sealed values the vault opened {each['opened']}"
        for each in report["checks"]
        if each["name"] == "credentials" and each["ok"]
    ]
    lines += [f"{each['image']} was fetched first ({each['took_s']:.0f} s)" for each in report.get("fetched", ())]
    lines.append(f"drilled {amounts.moment(report['at'])}, signed by {found.host} ({found.signed_by})")
    return "\n".join(lines)


def _part(part: dict[str, Any], checks: list[dict[str, Any]]) -> tuple[str, ...]:
    well = next((each["ok"] for each in checks if each["name"] == part["name"]), False)
    holds = next((words.format(**part) for name, words in _HOLDS.items() if name in part), "-")
    return part["name"], amounts.size(part["bytes"]), holds, f"{part['took_s']:.1f} s", "well" if well else "wrong"


_HOLDS = {
    "workflows": "{rows} rows in {tables} tables, {workflows} workflows ({active} active)",
    "rows": "{rows} rows in {tables} tables",
    "documents": "{documents} documents",
    "files": "{files} files",
}


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"  # noqa: PLR2004


def pruning(looked: Pruning) -> str:
    """What would stay and go."""
    plan = looked.plan
    rows = [(name, "stays", ", ".join(why)) for name, why in plan.keep.items()]
    rows += [(name, "goes", "") for name in plan.forget]
    rows += [(name, "goes", "parts of no archive") for name in plan.orphans]
    return output.table(("ARCHIVE", "", "WHY"), sorted(rows))


def pruned(done: Pruned) -> str:
    """What went, in one line."""
    orphans = f", and parts of {len(done.orphans)} that are none" if done.orphans else ""
    return (
        f"{done.client} on {done.target}: {len(done.forgotten)} archives are gone{orphans}; "
        f"{len(done.kept)} stay ({done.took_s:.1f} s)"
    )
