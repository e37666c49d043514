"""`otobotctl init`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otobotctl.cli import session


def register(app: typer.Typer) -> None:
    """Add the commands that have no noun."""
    app.command("init", epilog="Example: otobotctl init fleet")(init)


def init(
    context: typer.Context,
    directory: Annotated[Path, typer.Argument(help="Made if it is not there; an existing fleet is left as it is.")],
) -> None:
    """Make a fleet: an empty manifest, a .gitignore, and recipients from your SSH keys."""
    from otobotctl.workflows import start

    made = start.init(directory)

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
