"""`otobotctl client ...`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from otobotctl.cli import output, session
from otobotctl.cli.human import archives as words
from otobotctl.cli.human import hosts as human
from otobotctl.errors import DriftError, UsageError

Slug = Annotated[str, typer.Argument(help="The client's slug.")]
AskSudo = Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")]


def build() -> typer.Typer:
    """The commands about clients."""
    app = typer.Typer(help="Companies served: create, look, render, deploy, destroy.", no_args_is_help=True)
    app.command(
        "create",
        epilog="Example: otobotctl client create acme --company 'ACME SAS' --email it@acme.example "
        "--host vps-1 --domain acme.example --deploy",
    )(create)
    app.command("list", epilog="Example: otobotctl client list --json")(list_)
    app.command("show", epilog="Example: otobotctl client show acme")(show)
    app.command("guide", epilog="Example: otobotctl client guide acme")(guide)
    app.command("render", epilog="Example: otobotctl client render acme --out /dev/shm/acme")(render)
    app.command("diff", epilog="Example: otobotctl client diff acme")(diff)
    app.command("deploy", epilog="Example: otobotctl client deploy acme")(deploy)
    app.command(
        "export",
        epilog="Example: otobotctl client export acme --out acme.zip.age; age -d -i KEY acme.zip.age > acme.zip",
    )(export)
    app.command("destroy", epilog="Example: otobotctl client destroy acme")(destroy)
    app.command("remove", epilog="Example: otobotctl client remove acme")(remove)
    return app


def create(
    context: typer.Context,
    slug: Annotated[str, typer.Argument(help="A short name, a-z 0-9 and -, such as acme.")],
    company: Annotated[str, typer.Option(help="The company's name.")],
    email: Annotated[str, typer.Option(help="Who is told about certificates and accounts.")],
    host: Annotated[str, typer.Option(help="A host of the manifest.")],
    domain: Annotated[str, typer.Option(help="The client's domain, which resolves to the host.")],
    service: Annotated[
        list[str] | None, typer.Option(help="May be given several times. Default: the manifest's.")
    ] = None,
    environment: Annotated[str | None, typer.Option(help="dev, stage or prod.")] = None,
    tls: Annotated[str | None, typer.Option(help="acme or self-signed.")] = None,
    deploy_too: Annotated[
        bool, typer.Option("--deploy", help="Go on until the client is healthy on its host.")
    ] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Add a client to the manifest and mint its secrets. Safe to run again with the same values."""
    from otobotctl.workflows import clients

    here = session.of(context)
    fleet = here.fleet()
    wanted = clients.NewClient(slug, company, email, host, domain, tuple(service or ()), environment, tls)
    made = clients.create(fleet, wanted)
    if not deploy_too:
        here.show("client create", made, lambda: human.created(made))
        return
    here.say(human.created(made))
    here.warn(made)
    _deploy(here, "client create", slug, ask_sudo)


def list_(context: typer.Context) -> None:
    """List the clients of the manifest."""
    from otobotctl.workflows import clients

    here = session.of(context)
    rows = clients.listed(here.fleet())
    here.show(
        "client list",
        rows,
        lambda: output.table(
            ("CLIENT", "COMPANY", "HOST", "DOMAIN", "ENVIRONMENT"),
            [(r.slug, r.company, r.host, r.domain, r.environment) for r in rows],
        ),
    )


def show(context: typer.Context, slug: Slug) -> None:
    """Show one client with every default applied."""
    from otobotctl.workflows import clients

    here = session.of(context)
    shown = clients.shown(here.fleet(), slug)
    here.show("client show", shown, lambda: human.mapping(shown))


def guide(context: typer.Context, slug: Slug) -> None:
    """Print what only a person can do for a client, step by step, with its own names in it."""
    from otobotctl.workflows import clients

    here = session.of(context)
    found = clients.guide(here.fleet(), slug)
    here.show("client guide", found, lambda: "\n".join(found.guides.values()) or "nothing has to be done by hand")


def render(
    context: typer.Context,
    slug: Slug,
    out: Annotated[
        Path | None, typer.Option(help="Write the files here (0600 where they hold secrets). Default: list them.")
    ] = None,
) -> None:
    """Render a client's files. Without --out only their names, sizes and digests are shown."""
    from otobotctl.workflows import rendering

    here = session.of(context)
    done = rendering.render(here.fleet(), slug, out)
    here.show("client render", done, lambda: human.rendered(done))


def diff(
    context: typer.Context,
    slug: Slug,
    check: Annotated[bool, typer.Option(help="Exit with 4 when there is a difference.")] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Compare a client's release on its host with what would be deployed; secrets are masked."""
    from otobotctl.workflows import converging

    here = session.of(context)
    found = converging.plan_client(here.fleet(), slug, human.sudo_password(ask=ask_sudo))
    differs = DriftError(f"{slug} differs from what runs on {found.host}", hint=f"otobotctl client deploy {slug}")
    here.show(
        "client diff", found, lambda: human.plan(found, explain=False), differs if check and found.steps else None
    )


def deploy(
    context: typer.Context,
    slug: Slug,
    force: Annotated[
        bool, typer.Option(help="Let services that hold data go back to an older version; restore an archive first.")
    ] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Bring a client to what the manifest says, host included, and wait until it is healthy."""
    here = session.of(context)
    if force:
        here.confirm(f"Let services of {slug} go back to older versions, which may not read their data?")
    _deploy(here, "client deploy", slug, ask_sudo, force=force)


def _deploy(here: session.Session, command: str, slug: str, ask_sudo: bool, *, force: bool = False) -> None:
    """The one of `otobotctl deploy`, without its choices."""
    from otobotctl.cli.human import deploys
    from otobotctl.workflows.deploying.deploy import Choices, deploy
    from otobotctl.workflows.desired import load

    with human.watching(here) as listener:
        done = deploy(load(here.fleet()), slug, Choices(force=force), listener, human.sudo_password(ask=ask_sudo))
    here.show(command, done, lambda: deploys.one(done))


def export(
    context: typer.Context,
    slug: Slug,
    out: Annotated[Path, typer.Option("--out", "--output", help="The file to write, or a directory to put it in.")],
    recipient: Annotated[
        list[str] | None,
        typer.Option(help="A public key to seal for instead of the manifest's. May be given several times."),
    ] = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Write a client's data, configuration and secrets into one file, sealed with age, to hand them over."""
    from otobotctl.workflows import archives

    here = session.of(context)
    with human.watching(here) as listener:
        done = archives.export(
            here.fleet(), slug, out, tuple(recipient or ()), listener, human.sudo_password(ask=ask_sudo)
        )
    here.show("client export", done, lambda: words.archived(done))


def destroy(
    context: typer.Context,
    slug: Slug,
    volumes: Annotated[bool, typer.Option(help="Also delete the client's data volumes on the host.")] = False,
    archive: Annotated[
        Path | None, typer.Option(help="Where the final archive goes. Default: clients/CLIENT/archives/ in the fleet.")
    ] = None,
    without_archive: Annotated[
        bool, typer.Option("--no-archive", help="Make no final archive: with --volumes the data is gone for good.")
    ] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Take a client's containers and releases off its host, after a final archive that was read back from disk.

    Its data stays on the host unless --volumes, and its secrets stay in the fleet. The archive is made either way, with
    the client's services stopped; if it fails they are started again and nothing is removed.
    """
    from otobotctl.workflows import archives

    here = session.of(context)
    if archive is not None and without_archive:
        raise UsageError("--archive and --no-archive contradict each other", hint="give one of the two")
    fleet = here.fleet()
    data = ", with all its data" if volumes else ""
    kept = " WITHOUT an archive of it" if without_archive else ""
    here.confirm_by_name(f"Take {slug} off its host{data}{kept}?", slug)
    with human.watching(here) as listener:
        done = archives.destroy(
            fleet,
            slug,
            listener,
            human.sudo_password(ask=ask_sudo),
            volumes=volumes,
            archive=archive,
            without_archive=without_archive,
        )
    here.show("client destroy", done, lambda: words.destroyed(done))


def remove(context: typer.Context, slug: Slug) -> None:
    """Take a client out of the manifest; its sealed secrets are kept in clients/."""
    from otobotctl.workflows import clients

    here = session.of(context)
    fleet = here.fleet()
    here.confirm(f"Remove client {slug} from the manifest? What runs on its host is left running.")
    removed = clients.remove(fleet, slug)
    here.show(
        "client remove", removed, lambda: f"removed client {slug}; its sealed secrets are still in {removed.kept}"
    )
