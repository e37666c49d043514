"""`otobotctl vault ...`."""

from __future__ import annotations

import typer

from otobotctl.cli.commands.vault import access, audit, connections, keys, people


def build() -> typer.Typer:
    """The commands about a client's vault."""
    app = typer.Typer(help="A client's vault: users, connections, keys, audit. All through SSH.", no_args_is_help=True)
    for module in (people, connections, access, audit, keys):
        module.register(app)
    return app
