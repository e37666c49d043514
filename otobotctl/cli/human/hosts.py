"""Hosts, plans and releases in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otobotctl.cli import output
from otobotctl.cli.human.amounts import many
from otobotctl.cli.human.progress import watching

if TYPE_CHECKING:
    from otobotctl.workflows.clients import Created
    from otobotctl.workflows.converging import HostFacts, HostPlan, HostRun
    from otobotctl.workflows.fleetwide import Drifted
    from otobotctl.workflows.hosts import HostRow
    from otobotctl.workflows.rendering import Rendered

__all__ = ["applied", "created", "facts", "listed", "mapping", "plan", "rendered", "sudo_password", "watching"]


def listed(rows: Sequence[HostRow]) -> str:
    """The hosts of the manifest."""
    cells = [
        (r.name, r.address, r.user, str(r.port), "yes" if r.trusted else "no", ",".join(r.tags) or "-") for r in rows
    ]
    return output.table(("HOST", "ADDRESS", "USER", "PORT", "TRUSTED", "TAGS"), cells)


def plan(found: HostPlan | Drifted, *, explain: bool) -> str:
    """A plan: each step that differs, what changes, and its diff."""
    if not found.steps:
        return f"{found.host}: nothing to do"
    lines: list[str] = []
    for step in found.steps:
        lines.append(f"{step.name}: {step.title}")
        for change in step.changes:
            moved = f": {change.before or '(nothing)'} -> {change.after or '(nothing)'}"
            lines.append(f"    {change.what}{moved if change.before or change.after else ''}")
            lines += [f"      refused: {change.refused}"] if change.refused else []
            lines += [f"      {line}" for line in change.diff.splitlines()]
        if explain:
            lines += [f"    $ {command}" for command in step.commands]
    lines.append(f"{found.host}: {len(found.steps)} of {found.looked_at} steps differ")
    return "\n".join(lines)


def applied(done: HostRun) -> str:
    """What a run did."""
    return counted(done.host, done.executions, done.changed, done.took_s)


def counted(host: str, executions: int, changed: Sequence[str], took_s: float) -> str:
    """The steps that were applied on a host, and what it took."""
    runs = f"{many(executions, 'remote execution')}, {took_s:.1f} s"
    return "\n".join([*(f"changed {name}" for name in changed), f"{host}: {many(len(changed), 'change')}, {runs}"])


def facts(found: HostFacts) -> str:
    """A host's answers, one question a block."""
    lines = [f"{found.host}: boot {found.boot_id}"]
    for name, answers in found.facts.items():
        lines.append(name)
        lines += [f"    {key}: {value}" for key, value in answers.items()]
    return "\n".join(lines)


def created(made: Created) -> str:
    """A client that is in the manifest now."""
    minted = f"minted {len(made.minted)} secrets" if made.minted else "its secrets were there"
    what = "added" if made.new else "unchanged:"
    return f"{what} client {made.slug} on {made.host}; {minted}; next: otobotctl client deploy {made.slug}"


def rendered(done: Rendered) -> str:
    """The files of a rendering."""
    rows = [(f.path, f"{f.mode:04o}", str(f.size), f.digest[:12]) for f in done.files]
    where = f"\nwritten to {done.out}" if done.out else ""
    return output.table(("FILE", "MODE", "BYTES", "SHA-256"), rows) + where


def mapping(data: Mapping[str, Any]) -> str:
    """Names and values, nested ones indented."""
    lines: list[str] = []
    for key, value in data.items():
        if isinstance(value, Mapping):
            lines += [f"{key}:", *(f"  {line}" for line in mapping(value).splitlines())]
        elif isinstance(value, list | tuple):
            lines.append(f"{key}: {', '.join(map(str, value)) or '-'}")
        else:
            lines.append(f"{key}: {'-' if value in ('', None) else value}")
    return "\n".join(lines)


def sudo_password(*, ask: bool) -> Callable[[], str] | None:
    """Something that asks for the sudo password when it is first needed, once: of several hosts, for all of them."""
    if not ask:
        return None
    from getpass import getpass
    from threading import Lock

    turn, said = Lock(), list[str]()  # two threads that ask at once would leave the terminal without its echo

    def word() -> str:
        with turn:
            if not said:
                said.append(getpass("sudo password: "))
            return said[0]

    return word
