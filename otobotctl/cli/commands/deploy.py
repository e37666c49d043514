"""`otobotctl deploy`, `rollback`, `releases` and `logs`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from otobotctl.cli import output, session
from otobotctl.cli.human import deploys as words
from otobotctl.cli.human import fleet as crowd
from otobotctl.cli.human import hosts as human
from otobotctl.errors import InterruptedRunError

if TYPE_CHECKING:
    from otobotctl.workflows.deploying.deploy import Choices
    from otobotctl.workflows.deploying.several import Wanted
    from otobotctl.workflows.deploying.versions import Version

Client = Annotated[str, typer.Argument(help="The client's slug.")]
AskSudo = Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")]


def register(app: typer.Typer) -> None:
    """Add the commands, which have no noun."""
    app.command("deploy", epilog="Example: otobotctl deploy acme --version n8n=1.123.83; otobotctl deploy --env stage")(
        deploy
    )
    app.command("rollback", epilog="Example: otobotctl rollback acme; otobotctl rollback acme --to 12 --yes")(rollback)
    app.command("releases", epilog="Example: otobotctl releases acme --json")(releases)
    app.command("logs", epilog="Example: otobotctl logs acme vault-api --since 10m --follow")(logs)


def deploy(
    context: typer.Context,
    clients: Annotated[list[str] | None, typer.Argument(metavar="[CLIENT]...", help="Clients of the manifest.")] = None,
    environment: Annotated[
        str | None,
        typer.Option("--env", help="All clients of dev, stage or prod; with CLIENT: refuse those of another."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every client of the manifest.")] = False,
    version: Annotated[
        list[str] | None,
        typer.Option(help="SERVICE=VERSION, written into the manifest for these clients; may be given several times."),
    ] = None,
    plan: Annotated[bool, typer.Option("--plan", help="Show what would be done, and change nothing.")] = False,
    no_backup: Annotated[
        bool, typer.Option("--no-backup", help="Make no archive first, although the environment asks for one.")
    ] = False,
    no_smoke: Annotated[bool, typer.Option("--no-smoke", help="Do not try the vault afterwards.")] = False,
    force: Annotated[
        bool, typer.Option(help="Let services that hold data go back to an older version; restore an archive first.")
    ] = False,
    canary: Annotated[int, typer.Option(min=0, help="So many hosts go first, and must succeed.")] = 0,
    max_failures: Annotated[
        int | None, typer.Option(min=1, help="Start no other host after so many failed. Default: go on.")
    ] = None,
    parallel: Annotated[int, typer.Option(min=1, help="How many hosts at once.")] = 8,
    ask_sudo: AskSudo = False,
) -> None:
    """Bring clients to what the manifest says, hosts included, and wait until they are healthy and work.

    An archive first where the environment asks for it; images are pulled before anything stops; a release that does
    not become healthy or fails its smoke test is undone. Exit code 5: the release before is up again. With several
    clients: 3 when one failed, and each one's own error is shown.
    """
    from otobotctl.workflows.deploying import several, versions
    from otobotctl.workflows.deploying.deploy import Choices

    here = session.of(context)
    wanted = several.Wanted(tuple(clients or ()), environment, every)
    asked = versions.parse(version or ())
    password = crowd.sudo_password(ask=ask_sudo)
    if plan:
        found = several.plans(here.fleet(), wanted, asked, password)
        here.show("deploy", found, lambda: words.plans(found))
        return
    if force:
        here.confirm("Let services go back to older versions, which may not read their data?")
    from otobotctl.workflows.parallel import Limits

    choices = Choices(backup=not no_backup, smoke=not no_smoke, force=force)
    run(here, wanted, asked, choices, Limits(parallel, canary, max_failures), password)


def run(
    here: session.Session,
    wanted: Wanted,
    asked: tuple[Version, ...],
    choices: Choices,
    limits: object,
    password: object,
) -> None:
    """Deploy and show what came of it."""
    from otobotctl.workflows.deploying import several

    alone = len(wanted.names) == 1
    with human.watching(here) if alone else crowd.watching(here) as listener:
        done, error = several.deploys(here.fleet(), wanted, asked, choices, limits, listener, password)  # type: ignore[arg-type]
    here.show("deploy", done, lambda: words.deployed(done), error)


def rollback(
    context: typer.Context,
    client: Client,
    to: Annotated[int | None, typer.Option(min=1, help="The number of the release. Default: the one before.")] = None,
    force: Annotated[
        bool, typer.Option(help="Let services that hold data go back to an older version; restore an archive first.")
    ] = False,
    old_secrets: Annotated[
        bool, typer.Option("--old-secrets", help="Also where it brings former values of rotated secrets back.")
    ] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Go back to an earlier release of a client, with the same health checks as a deploy.

    Data, migrations and the manifest are not taken back; what stays is said. A release from before a rotation is
    refused without --old-secrets. Exit code 5: that release did not become healthy, and the one that was current is
    up again.
    """
    from otobotctl.workflows.deploying import rollback as workflow

    here = session.of(context)
    password = human.sudo_password(ask=ask_sudo)
    way = workflow.way(here.fleet(), client, to, password)
    if way.changes:
        here.say(words.way(way))
        workflow.check(way, old_secrets=old_secrets)
        here.confirm(f"Bring release {way.to} of {client} back?")
    with human.watching(here) as listener:
        done = workflow.rollback(here.fleet(), way, listener, password, force=force, old_secrets=old_secrets)
    here.show("rollback", done, lambda: words.rolled_back(done))


def releases(context: typer.Context, client: Client, ask_sudo: AskSudo = False) -> None:
    """List a client's releases on its host: when, by whom, what changed, and which one is current."""
    from otobotctl.workflows.deploying import releases as workflow

    here = session.of(context)
    found = workflow.releases(here.fleet(), client, human.sudo_password(ask=ask_sudo))
    here.show("releases", found, lambda: words.releases(found))


def logs(
    context: typer.Context,
    client: Client,
    services: Annotated[
        list[str] | None, typer.Argument(metavar="[SERVICE]...", help="Containers of the client. Default: all.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until Ctrl-C.")] = False,
    since: Annotated[str, typer.Option(help="Only what came since then, such as 10m or 2026-11-21T15:00:00Z.")] = "",
    tail: Annotated[str, typer.Option(help="At most so many lines of each container, or all.")] = "100",
    ask_sudo: AskSudo = False,
) -> None:
    """Show what a client's containers say; the client's secrets are *** in it.

    With --follow --json each line is one object on a line of its own.
    """
    import msgspec

    from otobotctl.workflows.deploying import logs as workflow

    here = session.of(context)
    wish = workflow.Wish(tuple(services or ()), tail, since, follow)
    found = workflow.logs(here.fleet(), client, wish, human.sudo_password(ask=ask_sudo))
    if here.as_json and not follow:
        lines = tuple(found)
        here.show("logs", {"client": client, "lines": lines}, lambda: "")
        return
    try:
        for line in found:
            if here.as_json:
                output.answer(
                    json.dumps({"version": output.JSON_VERSION, **msgspec.to_builtins(line)}, ensure_ascii=False)
                )
            else:
                output.answer(words.log_line(line))
    except (KeyboardInterrupt, InterruptedRunError):
        if not follow:
            raise
