"""`otobotctl secrets list`, `status`, `show`, `set`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from otobotctl.cli import output, session
from otobotctl.cli.human import secrets as human
from otobotctl.errors import DriftError, UsageError

Client = Annotated[str, typer.Argument(help="The client.")]
Name = Annotated[str, typer.Argument(help="The secret's name.")]


def register(app: typer.Typer) -> None:
    """Add the commands about what there is."""
    app.command("list", epilog="Example: otobotctl secrets list acme")(list_)
    app.command("status", epilog="Example: otobotctl secrets status --all --json")(status)
    app.command("show", epilog="Example: otobotctl secrets show acme N8N_ENCRYPTION_KEY")(show)
    app.command("set", epilog="Example: pass show acme/smtp | otobotctl secrets set acme SMTP_PASSWORD")(set_)


def list_(context: typer.Context, slug: Client) -> None:
    """Show which secrets a client has: kind, age, fingerprint. Needs no key."""
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


def status(
    context: typer.Context,
    slug: Annotated[str | None, typer.Argument(help="The client.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Every client of the fleet.")] = False,
) -> None:
    """Show how old each secret is and may be; exit code 4 when one is overdue. Needs no key."""
    from otobotctl.workflows import secrets

    here = session.of(context)
    if (slug is None) != every:
        raise UsageError("name a client, or say --all", hint="otobotctl secrets status --all")
    found = secrets.standings(here.fleet(), slug)
    error = None
    if late := [each for each in found.secrets if each.overdue]:
        plural = "s want" if len(late) > 1 else " wants"
        error = DriftError(f"{len(late)} secret{plural} somebody to act", hint=human.remedy(late))
    here.show("secrets status", found, lambda: human.standings(found.secrets), error)


def show(
    context: typer.Context,
    slug: Client,
    name: Name,
    in_json: Annotated[
        bool, typer.Option("--in-json", help="Put the value into --json, which else is refused.")
    ] = False,
) -> None:
    """Print one value, and nothing else, on stdout; it is asked for first."""
    from otobotctl.workflows import secrets

    here = session.of(context)
    if here.as_json and not in_json:
        raise UsageError("a value is no part of --json unless it is asked for", hint="add --in-json if you mean it")
    here.confirm(f"Show {name} of {slug}? Whoever sees this screen, or its scrollback, knows it from then on.")
    value = secrets.shown(here.fleet(), slug, name).reveal()
    here.show("secrets show", {"client": slug, "name": name, "value": value}, lambda: value)


def set_(context: typer.Context, slug: Client, name: Name) -> None:
    """Store a given secret; its value is read from stdin, or asked for without echo."""
    from getpass import getpass

    from otobotctl.workflows import secrets

    here = session.of(context)
    fleet = here.fleet()
    if because := secrets.replacing(fleet, slug, name).because:
        here.confirm(f"{name} of {slug} has a value, and {because}. Replace it?")
    value = getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    done = secrets.set_given(fleet, slug, name, value)
    here.show("secrets set", done, lambda: f"sealed {done.name} of {done.client} (fingerprint {done.fingerprint})")
