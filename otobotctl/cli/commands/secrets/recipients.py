"""`otobotctl secrets recipients ...` and `otobotctl secrets escrow`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.commands.secrets.values import Client
from otobotctl.cli.human import secrets as human

Key = Annotated[str, typer.Argument(help="A public key (ssh-ed25519, ssh-rsa, age1...), or a file that has it.")]


def register(app: typer.Typer) -> None:
    """Add the commands about who can open the sealed files."""
    group = typer.Typer(help="Who can open the fleet's sealed files.", no_args_is_help=True)
    group.command("list", epilog="Example: otobotctl secrets recipients list")(list_)
    group.command("add", epilog="Example: otobotctl secrets recipients add claire.pub")(add)
    group.command("remove", epilog="Example: otobotctl secrets recipients remove claire@laptop")(remove)
    app.add_typer(group, name="recipients")
    app.command("escrow", epilog="Example: otobotctl secrets escrow acme --to offline.pub > acme-recovery.txt")(escrow)


def list_(context: typer.Context) -> None:
    """Show whom the manifest names, and for whom each client's file is sealed. Needs no key."""
    from otobotctl.workflows import recipients

    here = session.of(context)
    found = recipients.listed(here.fleet())
    here.show("secrets recipients list", found, lambda: human.recipients(found))


def add(context: typer.Context, key: Key) -> None:
    """Name a public key in the manifest and seal every client's file for it too. Safe to run again."""
    from otobotctl.workflows import recipients

    here = session.of(context)
    done = recipients.add(here.fleet(), _key(key))
    here.show("secrets recipients add", done, lambda: human.added(done))


def remove(
    context: typer.Context, who: Annotated[str, typer.Argument(help="The key, a file that has it, or its comment.")]
) -> None:
    """Take a key out and seal every file anew. What it could read is due for rotation. Safe to run again."""
    from otobotctl.workflows import recipients

    here = session.of(context)
    fleet = here.fleet()
    here.confirm(f"Take {who} out? Every file is sealed anew, and each secret that could be read is due for rotation.")
    done = recipients.remove(fleet, _key(who))
    here.show("secrets recipients remove", done, lambda: human.removed(done))


def escrow(
    context: typer.Context,
    slug: Client,
    to: Annotated[
        list[str] | None, typer.Option(help="A public key, or a file that has it. Default: every recipient.")
    ] = None,
) -> None:
    """Print a recovery sheet: the client's secrets, sealed, with how to open them. It holds nothing to be read."""
    from otobotctl.workflows import recipients

    here = session.of(context)
    sheet = recipients.escrow(here.fleet(), slug, [_key(each) for each in to or ()])
    here.show("secrets escrow", sheet, lambda: sheet.text)


def _key(said: str) -> str:
    """The key itself, or what a file of that name says; a private key is told of by the check that follows."""
    path = Path(said).expanduser()
    try:
        lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else [said]
    except (OSError, UnicodeDecodeError):
        return said
    return next((line.strip() for line in lines if line.strip() and not line.startswith("#")), said)
