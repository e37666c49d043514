"""`otobotctl secrets ...`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from otobotctl.cli import output, session


def build() -> typer.Typer:
    """The commands about a client's sealed secrets."""
    app = typer.Typer(help="A client's sealed secrets. Values are never printed.", no_args_is_help=True)
    app.command("list", epilog="Example: otobotctl secrets list acme")(list_)
    app.command("set", epilog="Example: pass show acme/smtp | otobotctl secrets set acme SMTP_PASSWORD")(set_)
    return app


def list_(context: typer.Context, slug: Annotated[str, typer.Argument(help="The client.")]) -> None:
    """Show which secrets a client has: kind, age, fingerprint."""
    from otobotctl.workflows import secrets

    here = session.of(context)
    rows = secrets.listed(here.fleet(), slug)
    here.show(
        "secrets list",
        rows,
        lambda: output.table(
            ("NAME", "KIND", "CREATED", "FINGERPRINT"), [(r.name, r.kind, r.created, r.fingerprint) for r in rows]
        ),
    )


def set_(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(help="The client.")],
    name: Annotated[str, typer.Argument(help="The secret's name.")],
) -> None:
    """Store a given secret; its value is read from stdin, or asked for without echo."""
    from getpass import getpass

    from otobotctl.workflows import secrets

    value = getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    here = session.of(context)
    done = secrets.set_given(here.fleet(), slug, name, value)
    here.show("secrets set", done, lambda: f"sealed {done.name} of {done.client} (fingerprint {done.fingerprint})")
