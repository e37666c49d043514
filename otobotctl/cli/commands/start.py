"""`otobotctl init`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from otobotctl.cli import session


class CiName(StrEnum):
    """Where a fleet's repository lives."""

    github = "github"
    gitlab = "gitlab"


def register(app: typer.Typer) -> None:
    """Add the commands that have no noun."""
    app.command("init", epilog="Example: otobotctl init fleet; otobotctl init . --ci github")(init)


def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Made if it is not there; an existing fleet is left as it is.")],
    ci: Annotated[CiName | None, typer.Option(help="Also write the jobs of a CI that deploys the fleet.")] = None,
) -> None:
    """Make a fleet: an empty manifest, a .gitignore, and recipients from your SSH keys."""
    from dataclasses import replace

    from otobotctl.workflows import start

    made = start.init(directory)
    if ci is not None:
        jobs = start.add_ci(directory, ci.value)
        made = replace(made, made=(*made.made, jobs.file)) if jobs.new else made
        session.of(context).say(
            f"{jobs.file} was there already" if not jobs.new else f"read its first lines: {jobs.file}"
        )

    def human() -> str:
        lines = [f"fleet: {made.root}", *(f"made: {path}" for path in made.made)]
        lines += [f"recipient: {recipient}" for recipient in made.recipients]
        if made.identity:
            lines.append(
                f"no SSH key of yours can open secrets, so an age identity was minted: {made.identity}; "
                "keep a copy off this machine"
            )
        return "\n".join(lines)

    session.of(context).show("init", made, human)
