"""`otobotctl secrets rotate`."""

from __future__ import annotations

from typing import Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.commands.secrets.values import Client
from otobotctl.cli.human import hosts
from otobotctl.cli.human import secrets as human

Names = Annotated[list[str] | None, typer.Argument(help="The secrets' names.")]
NoBackup = Annotated[
    bool, typer.Option("--no-backup", help="Make no archive first, although the environment asks for one.")
]


def register(app: typer.Typer) -> None:
    """Add the command about new values."""
    app.command("rotate", epilog="Example: otobotctl secrets rotate acme --due")(rotate)


def rotate(
    context: typer.Context,
    slug: Client,
    names: Names = None,
    due: Annotated[bool, typer.Option("--due", help="Those that are overdue, or known to who should not.")] = False,
    every: Annotated[bool, typer.Option("--all", help="Every one that can be exchanged.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what was begun, and nothing else.")] = False,
    undo: Annotated[
        bool, typer.Option("--undo", help="Go back to the values before, where they are there still.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Also wait until no former value is accepted any more.")] = False,
    no_backup: NoBackup = False,
    ask_sudo: Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")] = False,
) -> None:
    """Exchange secrets in the live system and the store together. Killed at any point, --resume goes on.

    An archive first where the environment asks for one before a deploy; where it cannot be made, nothing is exchanged.
    """
    from otobotctl.workflows.rotation import exchange
    from otobotctl.workflows.rotation.choice import Wanted

    here = session.of(context)
    fleet = here.fleet()
    wanted = Wanted(tuple(names or ()), due, every, resume, undo)
    chosen, ends = exchange.preview(fleet, slug, wanted)
    for name, reason in chosen.refused.items():
        here.say(f"left alone: {name}: {reason}")
    if chosen.names:
        here.confirm(human.question(slug, chosen.names, ends))
    password = hosts.sudo_password(ask=ask_sudo)
    with hosts.watching(here) as listener:
        done = exchange.Exchange(fleet, slug, listener, here.say, password).run(wanted, wait=wait, backup=not no_backup)
    here.show("secrets rotate", done, lambda: human.rotated(done))
