"""`otobotctl host ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.human import fleet
from otobotctl.cli.human import hosts as human
from otobotctl.errors import DriftError, UsageError

if TYPE_CHECKING:
    from otobotctl.workflows.selection import Selection

HostName = Annotated[str, typer.Argument(help="A host of the manifest.")]
HostNames = Annotated[list[str] | None, typer.Argument(metavar="[HOST]...", help="Hosts of the manifest.")]
Tags = Annotated[list[str] | None, typer.Option("--tag", help="Every host with this tag; may be given several times.")]
Every = Annotated[bool, typer.Option("--all", help="Every host of the manifest.")]
Parallel = Annotated[int, typer.Option(min=1, help="How many hosts at once.")]
AskSudo = Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")]


def build() -> typer.Typer:
    """The commands about hosts."""
    app = typer.Typer(help="Machines reached over SSH: register, trust, look, plan, apply.", no_args_is_help=True)
    app.command("add", epilog="Example: otobotctl host add vps-1 --address 203.0.113.10 --user ubuntu")(add)
    app.command("list", epilog="Example: otobotctl host list --json")(list_)
    app.command("remove", epilog="Example: otobotctl host remove vps-1")(remove)
    app.command("trust", epilog="Example: otobotctl host trust vps-1 --host-key SHA256:...")(trust)
    app.command("facts", epilog="Example: otobotctl host facts vps-1")(facts)
    app.command("plan", epilog="Example: otobotctl host plan vps-1 --explain; otobotctl host plan --all")(plan)
    app.command("apply", epilog="Example: otobotctl host apply --tag paris --canary 1 --max-failures 2")(apply)
    app.command("drift", epilog="Example: otobotctl host drift --all --json")(drift)
    return app


def add(
    context: typer.Context,
    name: Annotated[str, typer.Argument(help="A short name, such as vps-1.")],
    address: Annotated[str, typer.Option(help="Name, IPv4 or IPv6 address.")],
    user: Annotated[str | None, typer.Option(help="The login; needs sudo unless it is root.")] = None,
    port: Annotated[int | None, typer.Option(help="The SSH port.")] = None,
    jump: Annotated[str | None, typer.Option(help="Another host of the manifest to go through.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="May be given several times.")] = None,
    docker: Annotated[
        str | None,
        typer.Option(
            help="Where Docker comes from: upstream, or distribution (Debian 13, Ubuntu 22.04 and newer ones)."
        ),
    ] = None,
) -> None:
    """Register a host in the manifest; nothing is contacted."""
    from otobotctl.workflows import hosts

    here = session.of(context)
    added = hosts.add(
        here.fleet(), name, address=address, user=user, port=port, jump=jump, tags=tuple(tag or ()), docker=docker
    )
    here.show("host add", added, lambda: f"added host {name}; next: otobotctl host trust {name}")


def list_(context: typer.Context) -> None:
    """List the hosts of the manifest."""
    from otobotctl.workflows import hosts

    here = session.of(context)
    rows = hosts.listed(here.fleet())
    here.show("host list", rows, lambda: human.listed(rows))


def remove(context: typer.Context, name: HostName) -> None:
    """Take a host out of the manifest and forget its key; the machine itself is left as it is."""
    from otobotctl.workflows import hosts

    here = session.of(context)
    where = here.fleet()
    here.confirm(f"Remove host {name} from the manifest?")
    removed = hosts.remove(where, name)
    here.show("host remove", removed, lambda: f"removed host {name}")


def trust(
    context: typer.Context,
    name: HostName,
    host_key: Annotated[
        str | None, typer.Option(help="The fingerprint you expect, SHA256:...; then nothing is asked.")
    ] = None,
) -> None:
    """Pin a host's key after you compared its fingerprint. A key that changed is never accepted without --host-key."""
    from otobotctl.workflows import hosts

    here = session.of(context)

    def agree(offered: str, pinned: str | None) -> None:
        if pinned == offered:
            return
        if pinned is not None:
            raise UsageError(
                f"{name} now shows {offered}, but {pinned} is pinned",
                hint="make sure on another way that the machine was reinstalled, then: "
                f"otobotctl host trust {name} --host-key {offered}",
            )
        here.say(f"{name} shows the host key {offered}")
        here.confirm("Is this the fingerprint your provider shows?")

    done = hosts.trust(here.fleet(), name, expected=host_key, agree=agree)
    here.show(
        "host trust",
        done,
        lambda: f"{name}: {done.fingerprint} {'was pinned already' if done.already else 'is pinned'}",
    )


def facts(context: typer.Context, name: HostName, ask_sudo: AskSudo = False) -> None:
    """Read a host's answers to every question of its playbook."""
    from otobotctl.workflows import converging

    here = session.of(context)
    found = converging.facts(here.fleet(), name, human.sudo_password(ask=ask_sudo))
    here.show("host facts", found, lambda: human.facts(found))


def plan(
    context: typer.Context,
    names: HostNames = None,
    every: Every = False,
    tag: Tags = None,
    explain: Annotated[bool, typer.Option(help="Also print what you would type to do each step by hand.")] = False,
    check: Annotated[bool, typer.Option(help="Exit with 4 when a host differs.")] = False,
    parallel: Parallel = 8,
    ask_sudo: AskSudo = False,
) -> None:
    """Show what an apply would change; nothing is changed.

    Exit code 3 when some of several hosts could not be looked at.
    """
    here = session.of(context)
    if names and len(names) == 1 and not every and not tag:
        _plan_one(here, names[0], ask_sudo, explain=explain, check=check)
        return
    from otobotctl.workflows import fleetwide
    from otobotctl.workflows.parallel import Limits

    password = fleet.sudo_password(ask=ask_sudo)
    look = fleetwide.drift if check else fleetwide.plan
    with fleet.watching(here) as listener:
        found, error = look(here.fleet(), _selection(names, tag, every), Limits(parallel), listener, password)
    here.show("host plan", found, lambda: fleet.planned(found, explain=explain), error)


def _plan_one(here: session.Session, name: str, ask_sudo: bool, *, explain: bool, check: bool) -> None:
    from otobotctl.workflows import converging

    found = converging.plan(here.fleet(), name, human.sudo_password(ask=ask_sudo))
    differs = DriftError(f"{name} differs in {len(found.steps)} steps", hint=f"otobotctl host apply {name}")
    here.show(
        "host plan", found, lambda: human.plan(found, explain=explain), differs if check and found.steps else None
    )


def apply(
    context: typer.Context,
    names: HostNames = None,
    every: Every = False,
    tag: Tags = None,
    canary: Annotated[int, typer.Option(min=0, help="So many hosts go first, and must succeed.")] = 0,
    max_failures: Annotated[
        int | None, typer.Option(min=1, help="Start no other host after so many failed. Default: go on.")
    ] = None,
    parallel: Parallel = 8,
    ask_sudo: AskSudo = False,
) -> None:
    """Make hosts what the manifest says. Safe to run again at any time: only what differs is changed.

    Exit code 3 when one of several hosts failed or was not started; each one's own error and code is shown.
    """
    here = session.of(context)
    if names and len(names) == 1 and not every and not tag:
        _apply_one(here, names[0], ask_sudo)
        return
    from otobotctl.workflows import fleetwide
    from otobotctl.workflows.parallel import Limits

    limits = Limits(parallel, canary, max_failures)
    password = fleet.sudo_password(ask=ask_sudo)
    with fleet.watching(here) as listener:
        done, error = fleetwide.apply(here.fleet(), _selection(names, tag, every), limits, listener, password)
    here.show("host apply", done, lambda: fleet.applied(done), error)


def drift(
    context: typer.Context,
    names: HostNames = None,
    every: Every = False,
    tag: Tags = None,
    parallel: Parallel = 8,
    ask_sudo: AskSudo = False,
) -> None:
    """Look where hosts differ from the manifest; nothing is changed. Without a name or tag: every host.

    Exit code 4 when one differs, 3 when none does but some of several could not be looked at.
    """
    from otobotctl.workflows import fleetwide
    from otobotctl.workflows.parallel import Limits

    here = session.of(context)
    everything = every or not (names or tag)
    password = fleet.sudo_password(ask=ask_sudo)
    with fleet.watching(here) as listener:
        found, error = fleetwide.drift(
            here.fleet(), _selection(names, tag, everything), Limits(parallel), listener, password
        )
    here.show("host drift", found, lambda: fleet.drifted(found), error)


def _apply_one(here: session.Session, name: str, ask_sudo: bool) -> None:
    from otobotctl.workflows import converging

    with human.watching(here) as listener:
        done = converging.apply(here.fleet(), name, listener, human.sudo_password(ask=ask_sudo))
    here.show("host apply", done, lambda: human.applied(done))


def _selection(names: list[str] | None, tags: list[str] | None, every: bool) -> Selection:
    from otobotctl.workflows.selection import Selection

    return Selection(tuple(names or ()), tuple(tags or ()), every)
