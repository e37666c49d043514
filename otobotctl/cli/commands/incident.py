"""`otobotctl incident ...`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.commands.host import AskSudo, HostName, Tags
from otobotctl.cli.human import fleet
from otobotctl.cli.human import incident as human
from otobotctl.errors import UsageError

Incident = Annotated[str | None, typer.Option("--incident", metavar="ID", help="Part of this one; else a new one.")]
Id = Annotated[str, typer.Argument(metavar="ID", help="An incident, such as 2026-11-21-1.")]


def build() -> typer.Typer:
    """The commands about incidents."""
    app = typer.Typer(
        help="Something went wrong: act on the live system, write it down, and know what remains for people.",
        no_args_is_help=True,
    )
    app.command("open", epilog="Example: otobotctl incident open 'laptop stolen' --aware 2026-11-21T08:30")(open_)
    app.command("revoke-connection", epilog="Example: otobotctl incident revoke-connection acme 7f3c1f1e-...")(revoke)
    app.command("block-ip", epilog="Example: otobotctl incident block-ip 198.51.100.7 --all --for 24h")(block)
    app.command("rotate-exposed", epilog="Example: otobotctl incident rotate-exposed --host vps-1")(rotate)
    app.command("isolate", epilog="Example: otobotctl incident isolate vps-1 --from 203.0.113.5")(isolate)
    app.command("release", epilog="Example: otobotctl incident release vps-1 198.51.100.7")(release)
    app.command("note", epilog="Example: otobotctl incident note 2026-11-21-1 --people 2 --settles 1")(note)
    app.command("close", epilog="Example: otobotctl incident close 2026-11-21-1 'keys changed, notice sent'")(close)
    app.command("list", epilog="Example: otobotctl incident list --json")(list_)
    app.command("report", epilog="Example: otobotctl incident report 2026-11-21-1 --html report.html")(report)
    return app


def open_(
    context: typer.Context,
    title: Annotated[str, typer.Argument(help="What was seen, in a few words.")],
    aware: Annotated[str | None, typer.Option(help="When it came to be known of (ISO 8601); default: now.")] = None,
) -> None:
    """Open an incident. From when it was known of, 72 hours count to the authority's notice."""
    from otobotctl.workflows.incidents import reporting

    here = session.of(context)
    done = reporting.opened(here.fleet(), title, aware)
    here.show("incident open", done, lambda: f"incident {done.incident} is open; the notice is due by {done.deadline}")


def revoke(
    context: typer.Context,
    client: Annotated[str, typer.Argument(help="A client of the manifest.")],
    connection: Annotated[str, typer.Argument(help="A connection's id; otobotctl vault connection list CLIENT.")],
    incident: Incident = None,
    ask_sudo: AskSudo = False,
) -> None:
    """End a connection whose token others may have: in the vault, and at its provider where that has a way."""
    from otobotctl.workflows.incidents import revoking
    from otobotctl.workflows.vault.door import VaultDoor

    here = session.of(context)
    where = here.fleet()
    here.confirm(f"End connection {connection} of {client}? Its user must connect again.")
    vault = VaultDoor(where, client, fleet.sudo_password(ask=ask_sudo))
    done = revoking.revoke(where, vault, connection, incident=incident)
    here.show("incident revoke-connection", done, lambda: human.acted(done))


def block(
    context: typer.Context,
    addresses: Annotated[list[str], typer.Argument(metavar="ADDRESS...", help="IPv4 or IPv6, or a network.")],
    host: Annotated[list[str] | None, typer.Option("--host", help="May be given several times.")] = None,
    tag: Tags = None,
    every: Annotated[bool, typer.Option("--all", help="On every host.")] = False,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="30m, 24h, 7d or forever.")] = "7d",
    incident: Incident = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Hold addresses off hosts: SSH, the proxy and whatever Docker publishes, open connections too. Never your own."""
    from otobotctl.workflows.incidents import shielding
    from otobotctl.workflows.selection import Selection

    here = session.of(context)
    where, lasting_s = here.fleet(), shielding.seconds(lasting)
    chosen = Selection(tuple(host or ()), tuple(tag or ()), every=every)
    password = fleet.sudo_password(ask=ask_sudo)
    with fleet.watching(here) as watcher:
        done = shielding.block(where, addresses, chosen, lasting_s, watcher, incident=incident, password=password)
    here.show("incident block-ip", done, lambda: human.acted(done))


def rotate(
    context: typer.Context,
    clients: Annotated[list[str] | None, typer.Argument(metavar="[CLIENT]...", help="Clients of the manifest.")] = None,
    secret: Annotated[
        list[str] | None, typer.Option("--secret", metavar="NAME", help="Of these clients, this secret alone.")
    ] = None,
    host: Annotated[
        list[str] | None, typer.Option("--host", help="Every secret of the clients on it; may be given several times.")
    ] = None,
    recipient: Annotated[
        str | None, typer.Option(help="Who could open secrets: a key or its name. He is taken out first.")
    ] = None,
    incident: Incident = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Exchange what somebody may know: secrets of clients, of all on a host, or what a recipient could open."""
    from otobotctl.workflows.incidents import exposing

    here = session.of(context)
    where = here.fleet()
    exposed = exposing.Exposed(tuple(clients or ()), tuple(secret or ()), tuple(host or ()), recipient)
    slugs = exposing.affected(where, exposed)
    here.confirm(
        f"Exchange {'the' if secret else 'every'} exposed secret{'s' if secret else ''} of {', '.join(slugs)}?"
    )
    password = fleet.sudo_password(ask=ask_sudo)
    with fleet.watching(here) as watcher:
        done = exposing.rotate(where, exposed, watcher, here.say, incident=incident, password=password)
    here.show("incident rotate-exposed", done, lambda: human.acted(done))


def isolate(
    context: typer.Context,
    name: HostName,
    friends: Annotated[
        list[str] | None, typer.Option("--from", metavar="ADDRESS", help="May come by SSH too, beside you.")
    ] = None,
    trial_s: Annotated[
        int, typer.Option("--trial", min=15, max=3600, help="Seconds after which it opens again, were you shut out.")
    ] = 120,
    incident: Incident = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Shut a host: only you come in, by SSH; its services answer nobody and reach nothing. A reboot changes nothing."""
    from otobotctl.workflows.incidents import shielding

    here = session.of(context)
    where = here.fleet()
    here.confirm_by_name(f"Every service of {name} stops answering.", name)
    password = fleet.sudo_password(ask=ask_sudo)
    with fleet.watching(here) as watcher:
        done = shielding.isolate(
            where, name, tuple(friends or ()), trial_s, watcher, incident=incident, password=password
        )
    here.show("incident isolate", done, lambda: human.acted(done))


def release(
    context: typer.Context,
    name: HostName,
    addresses: Annotated[list[str] | None, typer.Argument(metavar="[ADDRESS]...", help="Let these in again.")] = None,
    every: Annotated[bool, typer.Option("--all", help="Open the host, and let everybody in again.")] = False,
    incident: Incident = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Open an isolated host again, or with addresses: let those in again that are held off."""
    from otobotctl.workflows.incidents import shielding

    here = session.of(context)
    if every and addresses:
        raise UsageError("--all is every address already", hint="leave it out, or leave out the addresses")
    where = here.fleet()
    here.confirm(f"Open {name} {'to ' + ', '.join(addresses) if addresses else 'again'}?")
    password = fleet.sudo_password(ask=ask_sudo)
    with fleet.watching(here) as watcher:
        done = shielding.release(
            where, name, tuple(addresses or ()), watcher, every=every, incident=incident, password=password
        )
    here.show("incident release", done, lambda: human.acted(done))


def note(
    context: typer.Context,
    incident: Id,
    text: Annotated[str, typer.Argument(help="What was found out or done.")] = "",
    nature: Annotated[str | None, typer.Option(help="What happened, and to what kind of data.")] = None,
    people: Annotated[str | None, typer.Option(help="How many people, and who.")] = None,
    records: Annotated[str | None, typer.Option(help="How many records.")] = None,
    contact: Annotated[str | None, typer.Option(help="Whom the authority can ask.")] = None,
    consequences: Annotated[str | None, typer.Option(help="What is likely to come of it.")] = None,
    notice: Annotated[str | None, typer.Option(help="The notice to the authority: sent, or 'not needed'.")] = None,
    settles: Annotated[list[int] | None, typer.Option(metavar="NUMBER", help="This of what remained is done.")] = None,
) -> None:
    """Write down what you found out, decided or did. Never a secret: the file is committed with the fleet."""
    from otobotctl.workflows.incidents import reporting

    here = session.of(context)
    told = {
        "nature": nature,
        "people": people,
        "records": records,
        "contact": contact,
        "consequences": consequences,
    }
    found = reporting.note(here.fleet(), incident, text, told=told, settled=tuple(settles or ()), notice=notice)
    here.show("incident note", found, lambda: human.report(found))


def close(
    context: typer.Context,
    incident: Id,
    text: Annotated[str, typer.Argument(help="How it ended.")] = "",
) -> None:
    """Close an incident; refused while something remains or nobody has decided about the notice."""
    from otobotctl.workflows.incidents import reporting

    here = session.of(context)
    found = reporting.closed(here.fleet(), incident, text)
    here.show("incident close", found, lambda: f"incident {incident} is closed")


def list_(context: typer.Context) -> None:
    """List every incident, the newest first."""
    from otobotctl.workflows.incidents import reporting

    here = session.of(context)
    rows = reporting.listed(here.fleet())
    here.show("incident list", rows, lambda: human.listed(rows))


def report(
    context: typer.Context,
    incident: Annotated[str | None, typer.Argument(metavar="[ID]", help="Default: the newest.")] = None,
    html: Annotated[
        Path | None, typer.Option(help="Also write it as a page to hand on; it needs no other file.")
    ] = None,
) -> None:
    """Tell an incident: what was done, what remains for people, and the notice's 72 hours. 4: its file was changed."""
    from otobotctl.workflows.incidents import reporting

    here = session.of(context)
    found, error = reporting.report(here.fleet(), incident)
    if html is not None:
        from otobotctl.cli import pages
        from otobotctl.cli.human.incident_page import page

        # What people noted may be personal data.
        pages.write(here, html, page(found, datetime.now(UTC).isoformat(timespec="seconds")), 0o600)
    here.show("incident report", found, lambda: human.report(found), error)
