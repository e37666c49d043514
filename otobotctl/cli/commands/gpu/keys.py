"""`otobotctl gpu keys ...`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.commands.gpu.hosts import AskSudo
from otobotctl.cli.human import fleet as crowd
from otobotctl.cli.human import gpu

if TYPE_CHECKING:
    from otobotctl.cli.human.progress import Watcher
    from otobotctl.workflows.gpu.keys import Keys

Client = Annotated[str, typer.Argument(metavar="CLIENT", help="The client.")]
Purpose = Annotated[str, typer.Option(help="What the key is for: librechat, n8n, vault, or a word of yours.")]
Host = Annotated[str | None, typer.Option(help="Only on this GPU host. Default: on every one.")]


def build() -> typer.Typer:
    """The commands about keys."""
    app = typer.Typer(help="Who may ask IA Interne: one key a client and purpose.", no_args_is_help=True)
    app.command("add", epilog="Example: otobotctl gpu keys add acme --per-minute 120")(add)
    app.command("list", epilog="Example: otobotctl gpu keys list --json")(list_)
    app.command("rotate", epilog="Example: otobotctl gpu keys rotate acme; otobotctl gpu keys rotate acme --finish")(
        rotate
    )
    app.command("revoke", epilog="Example: otobotctl gpu keys revoke acme --purpose n8n --yes")(revoke)
    return app


def add(
    context: typer.Context,
    slug: Client,
    purpose: Purpose = "librechat",
    per_minute: Annotated[int | None, typer.Option(min=0, help="The most requests a minute; 0: no limit.")] = None,
    host: Host = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Give a client a key, sealed in the fleet; its next deploy gives it to whom it is for. Safe to run again."""
    here = session.of(context)
    with crowd.watching(here) as listener:
        done = _keys(here, slug, purpose, listener, host, ask=ask_sudo).add(per_minute)
    here.show("gpu keys add", done, lambda: gpu.changed(done, "accepted"))


def list_(context: typer.Context) -> None:
    """List who may ask, without any key."""
    from otobotctl.workflows.gpu import keys

    here = session.of(context)
    rows = keys.listed(here.fleet())
    here.show("gpu keys list", rows, lambda: gpu.keys(rows))


def rotate(
    context: typer.Context,
    slug: Client,
    purpose: Purpose = "librechat",
    finish: Annotated[bool, typer.Option("--finish", help="End the value before: it is refused from now on.")] = False,
    ask_sudo: AskSudo = False,
) -> None:
    """Exchange a key: first both values are accepted; once its user has the new one, --finish ends the one before."""
    here = session.of(context)
    with crowd.watching(here) as listener:
        keys = _keys(here, slug, purpose, listener, None, ask=ask_sudo)
        done = keys.finish() if finish else keys.rotate()
    what = "the value before is refused" if finish else "the new value is accepted beside the one before"
    here.show("gpu keys rotate", done, lambda: gpu.changed(done, what))


def revoke(
    context: typer.Context,
    slug: Client,
    purpose: Purpose = "librechat",
    host: Host = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Refuse a client's key from the next request on. Nothing is restarted; what is being answered ends by itself."""
    here = session.of(context)
    where = host or "every GPU host"
    here.confirm(f"Refuse the key of {slug} for {purpose} on {where}?")
    with crowd.watching(here) as listener:
        done = _keys(here, slug, purpose, listener, host, ask=ask_sudo).revoke()
    here.show("gpu keys revoke", done, lambda: gpu.changed(done, "refused"))


def _keys(here: session.Session, slug: str, purpose: str, listener: Watcher, host: str | None, *, ask: bool) -> Keys:
    from otobotctl.workflows.gpu.keys import Keys

    return Keys(here.fleet(), slug, purpose, listener, crowd.sudo_password(ask=ask), host)
