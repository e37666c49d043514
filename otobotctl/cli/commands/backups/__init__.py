"""`otobotctl backup ...`."""

from __future__ import annotations

import typer

from otobotctl.cli.commands.backups import proving, restore, runs, schedule


def build() -> typer.Typer:
    """The commands about backups."""
    app = typer.Typer(help="Archives: made, listed, proved by restoring them.", no_args_is_help=True)
    for module in (schedule, runs, restore, proving):
        module.register(app)
    return app
