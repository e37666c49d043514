"""`otobotctl backup restore`."""

from __future__ import annotations

from typing import Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.human import hosts as human
from otobotctl.cli.human import restores as words

_TO = "Deploy the client to this host of the manifest first, where nothing of it need be; it lives there from now on."


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command(
        "restore",
        epilog="Example: otobotctl backup restore acme --at 2026-11-21T14:00; after a disaster: "
        "otobotctl backup restore acme --to vps-2",
    )(restore)


def restore(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(metavar="CLIENT", help="The client's slug.")],
    at: Annotated[
        str,
        typer.Option(
            help="An archive's id, or a time (UTC): the newest that is not after it; with point-in-time recovery "
            "PostgreSQL as it was then, or `latest`. Default: the newest."
        ),
    ] = "",
    target: Annotated[str, typer.Option(help="Only from this target.")] = "",
    service: Annotated[str, typer.Option(help="Only the databases and volumes of one service.")] = "",
    database: Annotated[str, typer.Option(help="Only one database.")] = "",
    table: Annotated[str, typer.Option(metavar="SCHEMA.TABLE", help="Only one table, beside the live one.")] = "",
    user: Annotated[str, typer.Option(metavar="EMAIL_OR_ID", help="Only one person of the vault, merged.")] = "",
    replace: Annotated[bool, typer.Option("--replace", help="Put the table in the place of the live one.")] = False,
    to: Annotated[str, typer.Option(metavar="HOST", help=_TO)] = "",
    without_safety: Annotated[
        bool, typer.Option("--no-safety", help="Make no archive of what is there, such as for a full repository.")
    ] = False,
    ask_sudo: Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")] = False,
) -> None:
    """Put an archive in the place of a client's data.

    It is restored beside what is there; then what writes is stopped, what is there is archived too and kept, the two
    change places, and the services prove what they have. Whatever fails, the former data is up again: exit code 5.
    """
    from otobotctl.workflows.backup import restore as workflow

    here = session.of(context)
    fleet = here.fleet()
    asked = workflow.Asked(at, target, service, database, table, user, replace, not without_safety, to)
    if not table or replace:
        part = table or user or database or service or "all data"
        here.confirm_by_name(f"Put {at or 'the newest archive'} in the place of {part} of {slug}?", slug)
    with human.watching(here) as listener:
        done = workflow.restore(fleet, slug, asked, listener, human.sudo_password(ask=ask_sudo))
    here.show("backup restore", done, lambda: words.restored(done))
