"""`otobotctl vault connection | tokens | smoke`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otobotctl.cli import output, session
from otobotctl.cli.commands.vault.common import AskSudo, Client, Email, door, secret_input
from otobotctl.errors import DriftError

if TYPE_CHECKING:
    from otobotctl.workflows.vault.tokens import Tokens

_ADD = "Example: pass show acme/openai | otobotctl vault connection add acme lea@acme.example openai"


def register(app: typer.Typer) -> None:
    """Add the commands about connections."""
    connection = typer.Typer(help="Accounts that users have connected.", no_args_is_help=True)
    connection.command("list", epilog="Example: otobotctl vault connection list acme")(list_)
    connection.command("add", epilog=_ADD)(add)
    connection.command("remove", epilog="Example: otobotctl vault connection remove acme 7f3c1f1e-...")(remove)
    app.add_typer(connection, name="connection")
    app.command("tokens", epilog="Example: otobotctl vault tokens acme --watch")(tokens)
    app.command("smoke", epilog="Example: otobotctl vault smoke acme")(smoke)


def list_(context: typer.Context, slug: Client, ask_sudo: AskSudo = False) -> None:
    """List every user's connections, without their values."""
    from otobotctl.workflows.vault import tokens as workflow

    here = session.of(context)
    found = workflow.state(door(here, slug, ask_sudo=ask_sudo))
    here.show("vault connection list", found.tokens, lambda: _screen(found))


def add(
    context: typer.Context,
    slug: Client,
    email: Email,
    service: Annotated[str, typer.Argument(help="The service's code, such as openai.")],
    account: Annotated[str, typer.Option(help="What the account is called.")] = "",
    ask_sudo: AskSudo = False,
) -> None:
    """Connect a user to a service by an API key, which is read from stdin or asked for without echo."""
    from otobotctl.workflows.vault import tokens as workflow

    here = session.of(context)
    key = secret_input("API key")
    row = workflow.connect(door(here, slug, ask_sudo=ask_sudo), email, service, key, account)
    here.show("vault connection add", {"id": row}, lambda: f"connected {email} to {service}: {row}")


def remove(
    context: typer.Context,
    slug: Client,
    connection: Annotated[str, typer.Argument(help="The connection's id, as `list` shows it.")],
    ask_sudo: AskSudo = False,
) -> None:
    """Revoke a connection at its provider and delete it."""
    from otobotctl.workflows.vault import tokens as workflow

    here = session.of(context)
    vault = door(here, slug, ask_sudo=ask_sudo)
    here.confirm(f"Revoke and delete connection {connection} of {slug}?")
    workflow.disconnect(vault, connection)
    here.show("vault connection remove", {"id": connection}, lambda: f"removed {connection}")


def tokens(
    context: typer.Context,
    slug: Client,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=1, help="With --watch: the pause, in seconds.")] = 300,
    ask_sudo: AskSudo = False,
) -> None:
    """Show how every token is. Exit code 4 when one has expired or was broken off by its provider."""
    from otobotctl.workflows.vault import tokens as workflow

    here = session.of(context)
    vault = door(here, slug, ask_sudo=ask_sudo)

    def look() -> tuple[Tokens, DriftError | None]:
        found = workflow.state(vault)
        return found, _wanting(found)

    if watch:
        here.watch("vault tokens", look, _screen, every_s)
    found, error = look()
    here.show("vault tokens", found, lambda: _screen(found), error)


def _screen(found: Tokens) -> str:
    rows = [
        (each.status, each.user, each.service, each.account, (each.expires_at or "never")[:16], each.id, each.reason)
        for each in found.tokens
    ]
    table = output.table(("STATUS", "USER", "SERVICE", "ACCOUNT", "EXPIRES", "ID", "WHY"), rows)
    return f"{table}\n{found.valid} in order, {found.wanting} not"


def _wanting(found: Tokens) -> DriftError | None:
    if not found.wanting:
        return None
    message = f"{found.wanting} of {len(found.tokens)} tokens of {found.client} have expired or were broken off"
    return DriftError(message, hint="their users connect the account again")


def smoke(context: typer.Context, slug: Client, ask_sudo: AskSudo = False) -> None:
    """Try the vault from end to end with a user of its own: log in, store, fetch, erase."""
    from otobotctl.workflows.vault import smoke as workflow

    here = session.of(context)
    done = workflow.run(door(here, slug, ask_sudo=ask_sudo))
    here.show("vault smoke", done, lambda: "\n".join(f"ok  {step}" for step in done.steps))
