"""`otobotctl gpu models ...`."""

from __future__ import annotations

from typing import Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.commands.gpu.hosts import AskSudo, HostName
from otobotctl.cli.human import gpu
from otobotctl.cli.human import hosts as human

Names = Annotated[list[str], typer.Argument(metavar="MODEL...", help="Models with their tags, such as mistral:7b.")]


def build() -> typer.Typer:
    """The commands about models."""
    app = typer.Typer(
        help="The models of a GPU host. The manifest's list is what should be there.", no_args_is_help=True
    )
    app.command("list", epilog="Example: otobotctl gpu models list gpu-1 --json")(list_)
    app.command("pull", epilog="Example: otobotctl gpu models pull gpu-1 mistral:7b gemma2:27b")(pull)
    app.command("rm", epilog="Example: otobotctl gpu models rm gpu-1 gemma2:27b --yes")(rm)
    app.command("sync", epilog="Example: otobotctl gpu models sync gpu-1")(sync)
    return app


def list_(context: typer.Context, name: HostName, ask_sudo: AskSudo = False) -> None:
    """List the models that are there or should be, and what is in memory."""
    from otobotctl.workflows.gpu import models

    here = session.of(context)
    rows = models.listed(here.fleet(), name, human.sudo_password(ask=ask_sudo))
    here.show("gpu models list", rows, lambda: gpu.models(rows))


def pull(context: typer.Context, name: HostName, wanted: Names, ask_sudo: AskSudo = False) -> None:
    """Put models on the manifest's list and fetch them; what broke off goes on where it was.

    Refused, with the arithmetic, when disk or memory cannot hold one.
    """
    from otobotctl.workflows.gpu import models

    here = session.of(context)
    with human.watching(here) as listener:
        done = models.pull(here.fleet(), name, wanted, listener, human.sudo_password(ask=ask_sudo))
    here.show("gpu models pull", done, lambda: human.applied(done))


def rm(context: typer.Context, name: HostName, unwanted: Names, ask_sudo: AskSudo = False) -> None:
    """Take models off the manifest's list and delete them on the host."""
    from otobotctl.workflows.gpu import models

    here = session.of(context)
    where, password = here.fleet(), human.sudo_password(ask=ask_sudo)
    models.known(where, name, unwanted, password)
    here.confirm(f"Delete {', '.join(unwanted)} on {name}?")
    with human.watching(here) as listener:
        done = models.remove(where, name, unwanted, listener, password)
    here.show("gpu models rm", done, lambda: human.applied(done))


def sync(context: typer.Context, name: HostName, ask_sudo: AskSudo = False) -> None:
    """Fetch what the manifest lists and is missing; delete what it does not list, after asking."""
    from otobotctl.workflows.gpu import models

    here = session.of(context)
    with human.watching(here) as listener:
        done = models.sync(here.fleet(), name, here.confirm, listener, human.sudo_password(ask=ask_sudo))
    here.show("gpu models sync", done, lambda: human.applied(done))
