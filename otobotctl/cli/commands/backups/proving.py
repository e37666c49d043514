"""`otobotctl backup verify | drill | prune`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otobotctl.cli import output, session
from otobotctl.cli.human import hosts
from otobotctl.cli.human import proofs as words
from otobotctl.errors import UsageError

Slug = Annotated[str, typer.Argument(metavar="CLIENT", help="The client's slug.")]
_DRILL = "Example: otobotctl backup drill acme; as after a disaster: otobotctl backup drill acme --on spare-1"
AskSudo = Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.command("verify", epilog="Example: otobotctl backup verify acme --target offsite --full")(verify)
    app.command("drill", epilog=_DRILL)(drill)
    app.command("prune", epilog="Example: otobotctl backup prune acme --target offsite")(prune)


def verify(
    context: typer.Context,
    slug: Slug,
    target: Annotated[
        list[str] | None, typer.Option(help="This target alone; may be given several times. Default: all.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read all of the data, not the next part of 52.")] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Check that repositories hold what was put into them, and name the archives that damage touches.

    Nothing is repaired or deleted. Exit code 1 when something is damaged or could not be checked, 11 when a run is
    under way.
    """
    from otobotctl.workflows.backup import proving

    here = session.of(context)
    with hosts.watching(here) as listener:
        password = hosts.sudo_password(ask=ask_sudo)
        found, error = proving.verify(here.fleet(), slug, target or (), listener, password, full=full)
    here.show("backup verify", found, lambda: words.verified(found), error)


def drill(
    context: typer.Context,
    slug: Slug,
    target: Annotated[str, typer.Option(help="From this target. Default: the first.")] = "",
    on: Annotated[
        str,
        typer.Option(metavar="HOST", help="On another host, as after a disaster; local: on this machine."),
    ] = "",
    repository: Annotated[
        str, typer.Option(help="With --on: how that machine reaches the target, in restic's words.")
    ] = "",
    report: Annotated[
        bool, typer.Option("--report", help="Show the newest report instead, and who signed it.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Write the report here too, and its signature beside it (.sig).")
    ] = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Restore the newest archive into throw-away containers, and prove what came back.

    On the client's own host, or with --on where a disaster would have it restored: such a machine needs Docker and
    restic, gets everything else over the line, and keeps none of it.

    Rows, bytes and a decrypted credential are compared; everything is removed again; whoever drilled signs the report.
    Exit code 1 when the archive was not proved, 3 when the client's host could not be told of it, 12 when the report is
    not signed by a key that the fleet has pinned.
    """
    from otobotctl.workflows.backup import elsewhere, proving

    here = session.of(context)
    if (repository and not on) or (on and report):
        wrong = "--repository says how another machine reaches it" if repository else "--report drills nothing"
        raise UsageError(
            wrong, hint=f"otobotctl backup drill {slug} --on HOST; then otobotctl backup drill {slug} --report"
        )
    fleet, password = here.fleet(), hosts.sudo_password(ask=ask_sudo)
    if report:
        found, error = proving.report(fleet, slug, password=password), None
    elif on:
        with hosts.watching(here) as listener:
            found, error = elsewhere.drill(fleet, slug, on, listener, password, target=target, repository=repository)
    else:
        with hosts.watching(here) as listener:
            found, error = proving.drill(fleet, slug, target, listener, password)
    if out is not None:
        proving.write(found, out)
        output.story(f"written: {out} and {out}.sig")
    here.show("backup drill", found, lambda: words.drilled(found), error)


def prune(
    context: typer.Context,
    slug: Slug,
    target: Annotated[str, typer.Option(help="Which target, where there are several.")] = "",
    repository: Annotated[
        str, typer.Option(help="How this machine reaches it, in restic's words. Default: as the host does.")
    ] = "",
) -> None:
    """Remove the archives that are not to be kept, from here, with credentials that no host has.

    Archives go as a whole. Refuses where times in the repository look like somebody's who wants them gone.
    """
    from otobotctl.workflows.backup import pruning

    here = session.of(context)
    looked = pruning.look(here.fleet(), slug, target, repository)
    if looked.plan.forget or looked.plan.orphans:
        output.story(words.pruning(looked))
        count = len(looked.plan.forget)
        here.confirm(f"Remove {count} of {count + len(looked.plan.keep)} archives of {slug} from {looked.target}?")
    done = pruning.prune(looked)
    here.show("backup prune", done, lambda: words.pruned(done))
