"""`otobotctl doctor`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.commands.host import AskSudo, Parallel
from otobotctl.cli.human import fleet
from otobotctl.errors import UsageError

Names = Annotated[
    list[str] | None, typer.Argument(metavar="[CLIENT|HOST]...", help="Clients or hosts of the manifest.")
]


def register(app: typer.Typer) -> None:
    """Add the command, which has no noun."""
    app.command("doctor", epilog="Example: otobotctl doctor acme; otobotctl doctor vps-1 --fix")(doctor)


def doctor(
    context: typer.Context,
    names: Names = None,
    every: Annotated[bool, typer.Option("--all", help="Every host; the same as no name.")] = False,
    fix: Annotated[bool, typer.Option("--fix", help="Do what is safe about what is found, and look again.")] = False,
    parallel: Parallel = 8,
    ask_sudo: AskSudo = False,
) -> None:
    """Find what is wrong with hosts and clients, and say how to put it right. One remote execution a host.

    Exit code 0: nothing that needs anybody; 4: findings. No value of a secret is ever shown.
    """
    from otobotctl.cli.human.doctor import screen
    from otobotctl.workflows.doctor import doctor as workflow
    from otobotctl.workflows.parallel import Limits

    here = session.of(context)
    if every and names:
        raise UsageError("--all is every host already", hint="leave it out, or leave out the names")

    def agree(asked: Sequence[tuple[str, str]]) -> bool:
        for host, what in asked:
            here.say(f"{host}: {what}")
        here.confirm(f"Do {'these ' + str(len(asked)) + ' things' if len(asked) > 1 else 'this'}?")
        return True

    password = fleet.sudo_password(ask=ask_sudo)
    found, error = workflow.doctor(
        here.fleet(), tuple(names or ()), Limits(parallel), fleet.Unseen(), password, agree=agree if fix else None
    )
    here.show("doctor", found, lambda: screen(found), error)
