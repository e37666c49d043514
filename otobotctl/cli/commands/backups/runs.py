"""`otobotctl backup run | list | status`."""

from __future__ import annotations

from typing import Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.human import backups as words
from otobotctl.cli.human import fleet, hosts

Slug = Annotated[str, typer.Argument(help="The client.")]
Slugs = Annotated[list[str] | None, typer.Argument(metavar="[CLIENT]...", help="Clients of the manifest.")]
Every = Annotated[bool, typer.Option("--all", help="Every client of the manifest.")]
Targets = Annotated[
    list[str] | None, typer.Option("--target", help="This target alone; may be given several times. Default: all.")
]
AskSudo = Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("run", epilog="Example: otobotctl backup run acme --target offsite")(run)
    app.command("list", epilog="Example: otobotctl backup list acme --json")(list_)
    app.command("status", epilog="Example: otobotctl backup status --all")(status)


def run(
    context: typer.Context,
    slugs: Slugs = None,
    every: Every = False,
    target: Targets = None,
    consistent: Annotated[
        bool,
        typer.Option("--consistent", help="Stop what writes until the files are read, so that all is of one moment."),
    ] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Make an archive now, on every target. It goes on if the line is lost; --consistent stops services for a moment.

    Exit code 1 when the only archive failed, 3 when some of several did, 11 when another run is under way.
    """
    from otobotctl.workflows.backup import runs

    here = session.of(context)
    wish = runs.Wish(tuple(target or ()), consistent)
    password = fleet.sudo_password(ask=ask_sudo)
    with fleet.watching(here) as listener:
        done, error = runs.run(here.fleet(), slugs or (), wish, listener, password, every=every)
    here.show("backup run", done, lambda: words.made(done), error)


def list_(context: typer.Context, slug: Slug, target: Targets = None, ask_sudo: AskSudo = False) -> None:
    """List a client's archives as its repositories have them."""
    from otobotctl.workflows.backup import listing

    here = session.of(context)
    found, error = listing.listed(here.fleet(), slug, target or (), hosts.sudo_password(ask=ask_sudo))
    here.show("backup list", found, lambda: words.listed(found), error)


def status(context: typer.Context, slugs: Slugs = None, every: Every = False, ask_sudo: AskSudo = False) -> None:
    """Show the newest archive, check and drill of clients against what was promised. Default: every client.

    Exit code 4 when something is overdue or has failed.
    """
    from otobotctl.workflows.backup import status as workflow

    here = session.of(context)
    names = () if every else tuple(slugs or ())
    found, error = workflow.status(here.fleet(), names, fleet.Unseen(), fleet.sudo_password(ask=ask_sudo))
    here.show("backup status", found, lambda: words.standing(found), error)
