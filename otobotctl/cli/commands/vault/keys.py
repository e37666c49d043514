"""`otobotctl vault rotate-key`."""

from __future__ import annotations

import typer

from otobotctl.cli import session
from otobotctl.cli.commands.secrets.rotation import NoBackup
from otobotctl.cli.commands.vault.common import AskSudo, Client
from otobotctl.cli.human import hosts as human


def register(app: typer.Typer) -> None:
    """Add the command about the master key."""
    app.command("rotate-key", epilog="Example: otobotctl vault rotate-key acme")(rotate_key)


def rotate_key(context: typer.Context, slug: Client, no_backup: NoBackup = False, ask_sudo: AskSudo = False) -> None:
    """Replace the master key and seal every stored value anew, online. Killed at any point, it goes on when rerun."""
    from otobotctl.workflows.vault import rotation

    here = session.of(context)
    here.confirm(f"Replace the master key of the vault of {slug}? It deploys twice.")
    password = human.sudo_password(ask=ask_sudo)
    with human.watching(here) as listener:
        done = rotation.rotate_key(here.fleet(), slug, listener, here.say, password, backup=not no_backup)
    here.show(
        "vault rotate-key",
        done,
        lambda: (
            f"{slug} has master key {done.version}, {done.sealed} values were sealed anew, {done.took_s:.0f} s; "
            f"commit clients/{slug}/secrets.age"
        ),
    )
