"""Archives in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.cli.human import amounts
from otobotctl.cli.human.hosts import counted

if TYPE_CHECKING:
    from otobotctl.workflows.archives import Archived, Destroyed


def archived(done: Archived) -> str:
    """An archive that is on disk: where, how large, of one moment or not, and who can open it."""
    moment = "consistent" if done.consistent else "not consistent: services wrote while it was made"
    lines = [
        f"{done.file}: {amounts.size(done.bytes)}, {len(done.members)} members, {moment}, {done.took_s:.1f} s",
        f"sealed for {', '.join(done.recipients)}; open it with: age -d -i KEY {done.file} > {done.client}.zip",
    ]
    lines += [f"{member.name}: {member.note}" for member in done.members if member.note]
    return "\n".join(lines)


def destroyed(done: Destroyed) -> str:
    """What a destroy did, and what is left to come back from."""
    lines = []
    if done.archive is not None:
        read = {True: ", read back and whole", False: ", written whole (no key here opens it to look inside)", None: ""}
        size = amounts.size(done.archive.bytes)
        lines.append(f"final archive: {done.archive.file} ({size}{read[done.archive.proved]})")
    return "\n".join([*lines, counted(done.host, done.executions, done.changed, done.took_s)])
