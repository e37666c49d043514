"""`otobotctl exec`, `otobotctl ssh` and `otobotctl audit`."""

from __future__ import annotations

import sys
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otobotctl.cli import output, session
from otobotctl.cli.commands.host import AskSudo, HostName, Tags
from otobotctl.cli.human import fleet

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otobotctl.workflows.audit import Audited


def register(app: typer.Typer) -> None:
    """Add the commands, which have no noun."""
    app.command("exec", epilog="Example: otobotctl exec vps-1 -- df -h; otobotctl exec acme/n8n -- n8n --version")(
        execute
    )
    app.command("ssh", epilog="Example: otobotctl ssh vps-1")(ssh)
    app.command("audit", epilog="Example: otobotctl audit --host vps-1 --since 2026-11-01")(audit)


def execute(
    context: typer.Context,
    target: Annotated[str, typer.Argument(help="A host, or a client's service: acme/n8n.")],
    command: Annotated[list[str], typer.Argument(help="The command, after `--`; no shell reads it.")],
    ask_sudo: AskSudo = False,
) -> None:
    """Run one command as root on a host, or in a service's container; the host's audit has it.

    An operator with a `role` may run what that role lists, and no more. Exit code 1 when the command failed, 14 when
    the role does not allow it.
    """
    from otobotctl.workflows import asking

    here = session.of(context)

    def heard(source: int, data: bytes) -> None:
        if not here.as_json:
            stream = (sys.stdout if source == 1 else sys.stderr).buffer
            stream.write(data)
            stream.flush()

    done, failed = asking.execute(here.fleet(), target, command, heard, fleet.sudo_password(ask=ask_sudo))
    here.show("exec", done, lambda: "", failed)


def ssh(context: typer.Context, name: HostName) -> None:
    """Open a shell on a host in this terminal, with the fleet's pinned key; the host's audit has when and who."""
    from otobotctl.workflows import asking

    here = session.of(context)
    done = asking.visit(here.fleet(), name)
    here.show("ssh", done, lambda: "")


def audit(
    context: typer.Context,
    host: Annotated[list[str] | None, typer.Option("--host", help="Of this host; may be given several times.")] = None,
    tag: Tags = None,
    since: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"], help="From this moment on, UTC.")
    ] = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Show who did what when, on the hosts and in the fleet, and verify that nothing of it was changed.

    Without a host or tag: every host. Exit code 4 when an audit is not whole, 3 when a host could not be asked.
    """
    from otobotctl.workflows import audit as workflow
    from otobotctl.workflows.selection import Selection

    here = session.of(context)
    chosen = Selection(tuple(host or ()), tuple(tag or ()), every=not (host or tag))
    found, error = workflow.audited(here.fleet(), chosen, fleet.sudo_password(ask=ask_sudo))
    if since is not None:
        found = workflow.since(found, since)
    here.show("audit", found, lambda: _table(found), error)


def _table(found: Audited) -> str:
    rows = [
        (each.at, each.where, each.who or each.account, each.address, each.event, _what(each.what))
        for each in found.entries
    ]
    return output.table(("AT", "WHERE", "WHO", "FROM", "EVENT", "WHAT"), rows)


def _what(what: Mapping[str, Any]) -> str:
    return " ".join(
        " ".join(map(str, value)) if isinstance(value, list) else f"{name}={value}" for name, value in what.items()
    )
