"""The tree of commands. Their modules are small: each function parses, calls one workflow and shows its result."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Annotated

import typer

from otobotctl.cli.commands import (
    asking,
    backups,
    client,
    deploy,
    doctor,
    gpu,
    host,
    incident,
    manifest,
    n8n,
    secrets,
    start,
    status,
    vault,
)
from otobotctl.cli.session import Session

_EPILOG = (
    "Example: otobotctl client create acme --company 'ACME SAS' --email it@acme.example "
    "--host vps-1 --domain acme.example --deploy"
)


def build() -> typer.Typer:
    """The whole command line."""
    app = typer.Typer(
        name="otobotctl",
        help="One manifest, running servers: renders, provisions, deploys and guards client hosts.",
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(_globals)
    start.register(app)
    status.register(app)
    deploy.register(app)
    doctor.register(app)
    asking.register(app)
    app.add_typer(manifest.build(), name="manifest")
    app.add_typer(host.build(), name="host")
    app.add_typer(client.build(), name="client")
    app.add_typer(backups.build(), name="backup")
    app.add_typer(secrets.build(), name="secrets")
    app.add_typer(vault.build(), name="vault")
    app.add_typer(incident.build(), name="incident")
    app.add_typer(n8n.build(), name="n8n")
    app.add_typer(gpu.build(), name="gpu")
    return app


@cache
def command() -> Callable[..., object]:
    """What takes the arguments: made once in a process, because a hundred commands take a tenth of a second."""
    return typer.main.get_command(build())


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"otobotctl {version('otobotctl')}")
        raise typer.Exit


def _globals(
    context: typer.Context,
    fleet: Annotated[
        Path | None,
        typer.Option(
            help="The fleet's directory. Default: the nearest parent with a clients-config.json.",
            envvar="OTOBOTCTL_FLEET",
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Answer with one JSON envelope on stdout.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Show each step's own output.")] = False,
    _version_wanted: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_version, is_eager=True)
    ] = False,
) -> None:
    context.obj = Session(fleet_option=fleet, as_json=as_json, yes=yes, verbose=verbose)
