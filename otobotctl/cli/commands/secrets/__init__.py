"""`otobotctl secrets ...`."""

from __future__ import annotations

import typer

from otobotctl.cli.commands.secrets import recipients, rotation, values


def build() -> typer.Typer:
    """The commands about a client's sealed secrets."""
    app = typer.Typer(help="A client's sealed secrets: age, rotation, recipients, recovery.", no_args_is_help=True)
    values.register(app)
    rotation.register(app)
    recipients.register(app)
    return app
