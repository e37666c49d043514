"""`otobotctl backup schedule`."""

from __future__ import annotations

from typing import Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.human import hosts
from otobotctl.cli.human import schedule as words

Slug = Annotated[str, typer.Argument(help="The client.")]
AskSudo = Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("schedule", epilog="Example: otobotctl backup schedule acme --init")(schedule)


def schedule(
    context: typer.Context,
    slug: Slug,
    init: Annotated[bool, typer.Option("--init", help="Make the repositories that were never made.")] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Show where a client's archives go and when, whether each repository is ready, and the key to place there.

    Exit code 1 when --init could not make one. `backup status` judges; this only shows.
    """
    from otobotctl.workflows.backup import schedule as workflow

    here = session.of(context)
    found, error = workflow.schedule(here.fleet(), slug, hosts.sudo_password(ask=ask_sudo), init=init)
    here.show("backup schedule", found, lambda: words.schedule(found), error)
