"""`otobotctl gpu ...`."""

from __future__ import annotations

import typer

from otobotctl.cli.commands.gpu import hosts, keys, models


def build() -> typer.Typer:
    """The commands about IA Interne."""
    app = typer.Typer(help="IA Interne: language models that all clients share.", no_args_is_help=True)
    hosts.register(app)
    app.add_typer(models.build(), name="models")
    app.add_typer(keys.build(), name="keys")
    return app
