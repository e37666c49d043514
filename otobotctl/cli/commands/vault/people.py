"""`otobotctl vault client | user | gdpr`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from otobotctl.cli import output, session
from otobotctl.cli.commands.vault.common import AskSudo, Client, Email, Out, door, may_show, show_once
from otobotctl.cli.human import hosts as human

Role = Annotated[str, typer.Option(help="user or admin.")]


def register(app: typer.Typer) -> None:
    """Add the commands about people."""
    client = typer.Typer(help="The client as its vault knows it.", no_args_is_help=True)
    client.command("show", epilog="Example: otobotctl vault client show acme")(show)
    app.add_typer(client, name="client")
    user = typer.Typer(help="People of the client.", no_args_is_help=True)
    user.command("list", epilog="Example: otobotctl vault user list acme")(list_)
    user.command("add", epilog="Example: otobotctl vault user add acme lea@acme.example --name 'Léa' --role admin")(add)
    user.command("change", epilog="Example: otobotctl vault user change acme lea@acme.example --role user")(change)
    user.command("reset", epilog="Example: otobotctl vault user reset acme lea@acme.example --out lea.txt")(reset)
    app.add_typer(user, name="user")
    gdpr = typer.Typer(help="What a person may ask for.", no_args_is_help=True)
    gdpr.command("export", epilog="Example: otobotctl vault gdpr export acme lea@acme.example --out lea.json")(export)
    gdpr.command("erase", epilog="Example: otobotctl vault gdpr erase acme lea@acme.example")(erase)
    app.add_typer(gdpr, name="gdpr")


def show(context: typer.Context, slug: Client, ask_sudo: AskSudo = False) -> None:
    """Show the client and its policy."""
    from otobotctl.workflows.vault import people

    here = session.of(context)
    found = people.client(door(here, slug, ask_sudo=ask_sudo))
    here.show("vault client show", found, lambda: human.mapping(found))


def list_(
    context: typer.Context,
    slug: Client,
    erased: Annotated[bool, typer.Option("--erased", help="Also those who were erased: an id, for the audit.")] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """List the users."""
    from otobotctl.workflows.vault import people

    here = session.of(context)
    found = people.listed(door(here, slug, ask_sudo=ask_sudo), erased=erased)
    here.show("vault user list", found, lambda: _table(found))


def _table(users: list[dict[str, Any]]) -> str:
    rows = [
        (
            user["email"],
            user["name"],
            user["role"],
            _state(user),
            (user["lastLoginAt"] or "never")[:16],
            "yes" if user["mfaEnabled"] else "no",
        )
        for user in users
    ]
    return output.table(("E-MAIL", "NAME", "ROLE", "STATE", "LAST LOGIN", "2ND FACTOR"), rows)


def _state(user: dict[str, Any]) -> str:
    if user["erasedAt"]:
        return "erased"
    if not user["isActive"]:
        return "inactive"
    return "locked" if user["lockedUntil"] else "active"


def add(
    context: typer.Context,
    slug: Client,
    email: Email,
    name: Annotated[str, typer.Option(help="As it is shown.")] = "",
    role: Role = "user",
    out: Out = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Create a user. The one-time password is the answer; it has to be changed at the first login."""
    from otobotctl.workflows.vault import people

    here = session.of(context)
    may_show(here, out)
    user, password = people.add(door(here, slug, ask_sudo=ask_sudo), email, name, role)
    show_once(here, "vault user add", user, password, out, f"one-time password of {email}")


def change(
    context: typer.Context,
    slug: Client,
    email: Email,
    name: Annotated[str | None, typer.Option(help="As it is shown.")] = None,
    role: Annotated[str | None, typer.Option(help="user or admin.")] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--inactive", help="Whether this person may log in; ends sessions.")
    ] = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Change a user's name, role, or whether it may log in."""
    from otobotctl.workflows.vault import people

    here = session.of(context)
    said = {"name": name, "role": role, "isActive": active}
    fields = {field: value for field, value in said.items() if value is not None}
    user = people.change(door(here, slug, ask_sudo=ask_sudo), email, **fields)
    here.show("vault user change", user, lambda: _table([user]))


def reset(context: typer.Context, slug: Client, email: Email, out: Out = None, ask_sudo: AskSudo = False) -> None:
    """Replace a user's password by a one-time one, and forget failed logins."""
    from otobotctl.workflows.vault import people

    here = session.of(context)
    may_show(here, out)
    user, password = people.reset(door(here, slug, ask_sudo=ask_sudo), email)
    show_once(here, "vault user reset", user, password, out, f"one-time password of {email}")


def export(
    context: typer.Context,
    slug: Client,
    email: Email,
    out: Annotated[Path | None, typer.Option(help="Write it here (0600). Default: stdout.")] = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Everything the vault holds about a person, but secret values, which are named."""
    from otobotctl import atomic
    from otobotctl.workflows.vault import people

    here = session.of(context)
    found = people.exported(door(here, slug, ask_sudo=ask_sudo), email)
    text = json.dumps(found, ensure_ascii=False, indent=2)
    if out is None:
        here.show("vault gdpr export", found, lambda: text)
        return
    atomic.write(out, f"{text}\n".encode(), 0o600)
    here.show("vault gdpr export", {"written": str(out)}, lambda: f"wrote {out}")


def erase(context: typer.Context, slug: Client, email: Email, ask_sudo: AskSudo = False) -> None:
    """Revoke a person's connections at their providers and erase everything about him; the audit keeps the id alone."""
    from otobotctl.workflows.vault import people

    here = session.of(context)
    vault = door(here, slug, ask_sudo=ask_sudo)
    here.confirm_by_name(f"Erase {email} from the vault of {slug}? This cannot be taken back.", email)
    done = people.erase(vault, email)
    here.show("vault gdpr erase", done, lambda: human.mapping(done))
