"""`otobotctl status`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.commands.host import AskSudo, HostNames, Parallel, Tags
from otobotctl.cli.human import fleet

if TYPE_CHECKING:
    from otobotctl.errors import OtobotError
    from otobotctl.workflows.status import Status


def register(app: typer.Typer) -> None:
    """Add the command, which has no noun."""
    app.command("status", epilog="Example: otobotctl status --tag paris --html status.html")(status)


def status(
    context: typer.Context,
    names: HostNames = None,
    tag: Tags = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=1, help="With --watch: the pause, in seconds.")] = 10,
    html: Annotated[Path | None, typer.Option(help="Also write a page with charts; it needs no other file.")] = None,
    parallel: Parallel = 8,
    ask_sudo: AskSudo = False,
) -> None:
    """Show how hosts and clients are, with one remote execution a host. Without a name or tag: every host.

    Exit code 3 when some of several hosts cannot be asked; the host's own code when it is the only one. With --watch
    --json each look is one line with its own `ok` and error; Ctrl-C ends it with the code of the last one.
    """
    from otobotctl.workflows import status as workflow
    from otobotctl.workflows.parallel import Limits
    from otobotctl.workflows.selection import Selection

    here = session.of(context)
    where = here.fleet()
    chosen = Selection(tuple(names or ()), tuple(tag or ()), every=not (names or tag))
    password = fleet.sudo_password(ask=ask_sudo)

    def look() -> tuple[Status, OtobotError | None]:
        found, error = workflow.status(where, chosen, Limits(parallel), fleet.Unseen(), password)
        _write(here, found, html)
        return found, error

    if watch:
        here.watch("status", look, _screen, every_s)
    found, error = look()
    here.show("status", found, lambda: _screen(found), error)


def _screen(found: Status) -> str:
    from otobotctl.cli.human.status import screen

    return screen(found)


def _write(here: session.Session, found: Status, html: Path | None) -> None:
    if html is None:
        return
    from otobotctl.cli import pages
    from otobotctl.cli.human.page import page

    pages.write(here, html, page(found))
