"""`otobotctl vault audit`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.commands.vault.common import AskSudo, Client, door
from otobotctl.errors import DriftError


def register(app: typer.Typer) -> None:
    """Add the commands about the audit."""
    audit = typer.Typer(help="Who did what with the client's credentials.", no_args_is_help=True)
    audit.command("export", epilog="Example: otobotctl vault audit export acme audit.jsonl")(export)
    audit.command("verify", epilog="Example: otobotctl vault audit verify acme")(verify)
    app.add_typer(audit, name="audit")


def export(
    context: typer.Context,
    slug: Client,
    file: Annotated[Path, typer.Argument(help="Where to: one JSON object a line, newest first (0600).")],
    ask_sudo: AskSudo = False,
) -> None:
    """Write the whole audit to a file."""
    from otobotctl.workflows.vault import audit as workflow

    here = session.of(context)
    count = workflow.export(door(here, slug, ask_sudo=ask_sudo), file)
    done = {"written": str(file), "entries": count}
    here.show("vault audit export", done, lambda: f"wrote {count} entries to {file}")


def verify(context: typer.Context, slug: Client, ask_sudo: AskSudo = False) -> None:
    """Verify every row and chain, and that nothing is gone since the last time; exit code 4 when it is not whole."""
    from otobotctl.workflows.vault import audit as workflow

    here = session.of(context)
    found = workflow.verify(here.fleet(), door(here, slug, ask_sudo=ask_sudo))
    compared = (
        ", and nothing of the last time is gone" if found.anchored else "; its heads are the fleet's first anchor"
    )
    wrong = DriftError(
        f"the audit of {slug} is not whole",
        hint="keep the database as it is, and compare with the newest archive",
        details=found.broken,
    )
    here.show(
        "vault audit verify",
        found,
        lambda: "" if found.broken else f"{found.rows} rows in {found.chains} chains: whole{compared}",
        wrong if found.broken else None,
    )
