"""`otobotctl vault app | apikey`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from otobotctl.cli import output, session
from otobotctl.cli.commands.vault.common import AskSudo, Client, Out, door, may_show, secret_input, show_once

_ADD = "Example: pass show acme/google | otobotctl vault app add acme google --client-id 123.apps"
_CREATE = "Example: otobotctl vault apikey create acme ci --scope users.read --out ci.key"


def register(app: typer.Typer) -> None:
    """Add the commands about what may call, and by which applications accounts are connected."""
    apps = typer.Typer(help="The client's applications at OAuth providers.", no_args_is_help=True)
    apps.command("list", epilog="Example: otobotctl vault app list acme")(list_apps)
    apps.command("add", epilog=_ADD)(add_app)
    apps.command("remove", epilog="Example: otobotctl vault app remove acme 7f3c1f1e-...")(remove_app)
    app.add_typer(apps, name="app")
    keys = typer.Typer(help="API keys, for CI and other programs.", no_args_is_help=True)
    keys.command("list", epilog="Example: otobotctl vault apikey list acme")(list_keys)
    keys.command("create", epilog=_CREATE)(create_key)
    keys.command("revoke", epilog="Example: otobotctl vault apikey revoke acme 7f3c1f1e-...")(revoke_key)
    app.add_typer(keys, name="apikey")


def list_apps(context: typer.Context, slug: Client, ask_sudo: AskSudo = False) -> None:
    """List the applications, without their values."""
    from otobotctl.workflows.vault import grants

    here = session.of(context)
    found = grants.apps(door(here, slug, ask_sudo=ask_sudo))
    rows = [
        (each["service"], each["appName"], "yes" if each["isActive"] else "no", str(each["connections"]), each["id"])
        for each in found
    ]
    head = ("SERVICE", "NAME", "ACTIVE", "CONNECTIONS", "ID")
    here.show("vault app list", found, lambda: output.table(head, rows))


def add_app(
    context: typer.Context,
    slug: Client,
    service: Annotated[str, typer.Argument(help="The service's code, such as google.")],
    client_id: Annotated[str, typer.Option(help="The application's client id at the provider.")],
    name: Annotated[str, typer.Option(help="What it is called. Default: the service.")] = "",
    redirect_uri: Annotated[str, typer.Option(help="Default: the vault's own callback.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="May be given several times. Default: the provider's.")
    ] = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Store an application; its client secret is read from stdin or asked for without echo."""
    from otobotctl.workflows.vault import grants

    here = session.of(context)
    app = grants.App(service, name or service, client_id, secret_input("client secret"), redirect_uri, scope or [])
    made = grants.add_app(door(here, slug, ask_sudo=ask_sudo), app)
    here.show("vault app add", made, lambda: f"stored the application of {slug} at {service}: {made['id']}")


def remove_app(
    context: typer.Context,
    slug: Client,
    app: Annotated[str, typer.Argument(help="The application's id, as `list` shows it.")],
    ask_sudo: AskSudo = False,
) -> None:
    """Delete an application that no connection was made with."""
    from otobotctl.workflows.vault import grants

    here = session.of(context)
    vault = door(here, slug, ask_sudo=ask_sudo)
    here.confirm(f"Delete application {app} of {slug}?")
    grants.remove_app(vault, app)
    here.show("vault app remove", {"id": app}, lambda: f"removed {app}")


def list_keys(context: typer.Context, slug: Client, ask_sudo: AskSudo = False) -> None:
    """List the API keys, without their values."""
    from otobotctl.workflows.vault import grants

    here = session.of(context)
    found = grants.keys(door(here, slug, ask_sudo=ask_sudo))
    rows = [(each["name"], each["prefix"], " ".join(each["scopes"]), _until(each), each["id"]) for each in found]
    here.show("vault apikey list", found, lambda: output.table(("NAME", "PREFIX", "SCOPES", "UNTIL", "ID"), rows))


def _until(key: dict[str, Any]) -> str:
    return "revoked" if key["revokedAt"] else (key["expiresAt"] or "")[:10]


def create_key(
    context: typer.Context,
    slug: Client,
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[list[str], typer.Option(help="What it may do, such as users.read; may be given several times.")],
    days: Annotated[int, typer.Option(min=1, max=366, help="When it ends.")] = 90,
    out: Out = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Create an API key. The key is the answer, and is shown this once."""
    from otobotctl.workflows.vault import grants

    here = session.of(context)
    may_show(here, out)
    about, key = grants.create_key(door(here, slug, ask_sudo=ask_sudo), name, scope, days)
    show_once(here, "vault apikey create", about, key, out, f"API key {name} of {slug}")


def revoke_key(
    context: typer.Context,
    slug: Client,
    key: Annotated[str, typer.Argument(help="The key's id, as `list` shows it.")],
    ask_sudo: AskSudo = False,
) -> None:
    """Revoke an API key at once."""
    from otobotctl.workflows.vault import grants

    here = session.of(context)
    vault = door(here, slug, ask_sudo=ask_sudo)
    here.confirm(f"Revoke API key {key} of {slug}?")
    grants.revoke_key(vault, key)
    here.show("vault apikey revoke", {"id": key}, lambda: f"revoked {key}")
