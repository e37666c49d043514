"""`otobotctl manifest ...`."""

from __future__ import annotations

import typer

from otobotctl.cli import session
from otobotctl.cli.human.amounts import many


def build() -> typer.Typer:
    """The commands about clients-config.json."""
    app = typer.Typer(help="Check the manifest, or print its JSON Schema.", no_args_is_help=True)
    app.command("validate", epilog="Example: otobotctl manifest validate --json")(validate)
    app.command("schema", epilog="Example: otobotctl manifest schema > clients-config.schema.json")(schema)
    return app


def validate(context: typer.Context) -> None:
    """Check the manifest; every finding in one go, exit code 10 when there is one."""
    from otobotctl.workflows import manifest

    here = session.of(context)
    result = manifest.validate(here.fleet())
    counted = f"{many(result.hosts, 'host')}, {many(result.clients, 'client')}"
    here.show("manifest validate", result, lambda: f"{result.path}: valid; {counted}")


def schema(context: typer.Context) -> None:
    """Print the JSON Schema of the manifest, for editors."""
    import json

    from otobotctl.workflows import manifest

    found = manifest.schema()
    session.of(context).show("manifest schema", found, lambda: json.dumps(found, indent=2, ensure_ascii=False))
