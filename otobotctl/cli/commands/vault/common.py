"""What the vault's commands share: the client, sudo, and how a value that is shown once leaves."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from otobotctl.cli import session
from otobotctl.cli.human import hosts as human
from otobotctl.errors import UsageError

if TYPE_CHECKING:
    from otobotctl.workflows.vault.door import VaultDoor

Client = Annotated[str, typer.Argument(help="The client.")]
Email = Annotated[str, typer.Argument(help="The user's e-mail address.")]
AskSudo = Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")]
Out = Annotated[Path | None, typer.Option(help="Write the value here (0600) instead of on stdout; needed with --json.")]


def door(here: session.Session, slug: str, *, ask_sudo: bool) -> VaultDoor:
    """The way to a client's vault."""
    from otobotctl.workflows.vault.door import VaultDoor

    return VaultDoor(here.fleet(), slug, human.sudo_password(ask=ask_sudo))


def may_show(here: session.Session, out: Path | None) -> None:
    """Refuse, before anything is done, what would put a secret into JSON. Raises UsageError."""
    if here.as_json and out is None:
        raise UsageError("a secret is never part of --json", hint="add --out FILE")
    if out is not None and out.exists():
        raise UsageError(f"{out} is there already", hint="name another file")


def show_once(
    here: session.Session, command: str, data: dict[str, Any], value: str, out: Path | None, what: str
) -> None:
    """Answer with a value that nobody can get a second time: alone on stdout, or in a file of its own."""
    if out is None:
        here.say(f"{what}; it is shown this once")
        here.show(command, data, lambda: value)
        return
    from otobotctl import atomic

    atomic.write(out, f"{value}\n".encode(), 0o600)
    here.show(command, {**data, "written": str(out)}, lambda: f"{what}, written to {out}")


def secret_input(prompt: str) -> str:
    """A value from stdin, or asked for without echo; never an argument. Raises UsageError: it is empty."""
    from getpass import getpass

    value = getpass(f"{prompt}: ") if sys.stdin.isatty() else sys.stdin.read().removesuffix("\n")
    if not value:
        raise UsageError(
            f"no {prompt} was given", hint="write it to stdin, such as: pass show acme/key | otobotctl ..."
        )
    return value
