"""`otobotctl n8n ...`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otobotctl.cli import output, session
from otobotctl.cli.human import hosts as human
from otobotctl.errors import UsageError

if TYPE_CHECKING:
    from otobotctl.workflows.n8n.carry import Activation, Carried

Client = Annotated[str, typer.Argument(help="The client.")]
Folder = Annotated[Path | None, typer.Option(help="The folder. Default: clients/CLIENT/workflows in the fleet.")]
Suspects = Annotated[bool, typer.Option("--allow-suspects", help="Let pass what looks like a secret.")]
AskSudo = Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")]


def build() -> typer.Typer:
    """The commands about a client's workflows."""
    app = typer.Typer(help="A client's workflows as files, from one n8n to another.", no_args_is_help=True)
    app.command("export", epilog="Example: otobotctl n8n export acme --workflow 'Drive to Notion'")(export)
    app.command("import", epilog="Example: otobotctl n8n import beta --folder clients/acme/workflows")(import_)
    return app


def export(
    context: typer.Context,
    slug: Client,
    workflow: Annotated[list[str] | None, typer.Option(help="Only this one, by name or id; may be repeated.")] = None,
    folder: Folder = None,
    allow_suspects: Suspects = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Write a client's workflows as files for git: no runs, no pinned data, of credentials their names alone."""
    from otobotctl.workflows.n8n import carry
    from otobotctl.workflows.n8n.door import N8nDoor

    here = session.of(context)
    fleet = here.fleet()
    door = N8nDoor(fleet, slug, human.sudo_password(ask=ask_sudo))
    target = folder or carry.folder_of(fleet, slug)
    done = carry.export(door, slug, target, workflow or (), here.confirm, suspicious=allow_suspects)
    here.show("n8n export", done, lambda: f"{_rows(done)}\nin {done.folder}")


def import_(
    context: typer.Context,
    slug: Client,
    file: Annotated[list[Path] | None, typer.Argument(help="Files. Default: every .json of the folder.")] = None,
    folder: Folder = None,
    activate: Annotated[bool, typer.Option("--activate", help="Switch them on.")] = False,
    deactivate: Annotated[bool, typer.Option("--deactivate", help="Switch them off. Default: as they are.")] = False,
    allow_suspects: Suspects = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Store workflows in a client's n8n under their ids: a second time changes nothing. New ones are not active."""
    from otobotctl.workflows.n8n import carry
    from otobotctl.workflows.n8n.door import N8nDoor

    if activate and deactivate:
        raise UsageError("--activate and --deactivate ask for opposite things", hint="give one of them")
    here = session.of(context)
    fleet = here.fleet()
    documents = carry.read(folder or carry.folder_of(fleet, slug), [str(each) for each in file or ()])
    door = N8nDoor(fleet, slug, human.sudo_password(ask=ask_sudo))
    asked: Activation = "on" if activate else "off" if deactivate else "keep"
    done = carry.import_(door, slug, documents, asked, here.confirm, suspicious=allow_suspects)
    here.show("n8n import", done, lambda: _rows(done), done.error())


def _rows(done: Carried) -> str:
    cells = [(row.did, row.name, row.file, row.id, "active" if row.active else "-") for row in done.workflows]
    return output.table(("", "WORKFLOW", "FILE", "ID", ""), cells)
