"""`otobotctl gpu setup`, `status`, `usage` and `bench`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from otobotctl.cli import session
from otobotctl.cli.human import fleet as crowd
from otobotctl.cli.human import gpu
from otobotctl.cli.human import hosts as human

if TYPE_CHECKING:
    from otobotctl.errors import OtobotError
    from otobotctl.workflows.gpu.status import GpuStatus

HostName = Annotated[str, typer.Argument(metavar="HOST", help="A host of the manifest.")]
AskSudo = Annotated[bool, typer.Option("--ask-sudo", help="Ask for the sudo password of the host's user.")]


def register(app: typer.Typer) -> None:
    """Add the commands about hosts."""
    example = (
        "Example: otobotctl gpu setup gpu-1 --domain ia.otobot.example --email it@otobot.example --model mistral:7b"
    )
    app.command("setup", epilog=example)(setup)
    app.command("token", epilog="Example: pass show hf/token | otobotctl gpu token gpu-1")(token)
    app.command("export", epilog="Example: otobotctl gpu export gpu-1 --kind production-stack > values.yaml")(export)
    app.command("status", epilog="Example: otobotctl gpu status gpu-1 --watch --every 5")(status)
    app.command("usage", epilog="Example: otobotctl gpu usage --month 2026-11 --html usage.html")(usage)
    app.command("bench", epilog="Example: otobotctl gpu bench gpu-1 --model mistral:7b --callers 1 --callers 8")(bench)


def setup(
    context: typer.Context,
    name: HostName,
    domain: Annotated[str | None, typer.Option(help="The name that it answers at.")] = None,
    email: Annotated[str | None, typer.Option(help="For the certificate authority.")] = None,
    tls: Annotated[str | None, typer.Option(help="Where the certificate comes from: acme or self-signed.")] = None,
    cpu: Annotated[
        bool | None, typer.Option("--cpu/--card", help="The host has no card: models run on its processors.")
    ] = None,
    model: Annotated[list[str] | None, typer.Option(help="A model to have, such as mistral:7b; repeatable.")] = None,
    engine: Annotated[
        str | None, typer.Option(help="What runs the models: ollama, or vllm for one model and many callers.")
    ] = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Make a registered host a server of IA Interne, from a bare system on. Safe to run again at any time.

    What is said here is written into the manifest; without options, that is what counts.
    """
    from otobotctl.workflows.gpu import hosts

    here = session.of(context)
    said = hosts.Said(domain, email, tls, cpu, tuple(model or ()), engine)
    with human.watching(here) as listener:
        done = hosts.setup(here.fleet(), name, said, listener, human.sudo_password(ask=ask_sudo))
    here.show("gpu setup", done, lambda: human.applied(done))


def token(
    context: typer.Context,
    name: HostName,
    remove: Annotated[bool, typer.Option("--remove", help="Forget it; host apply then takes it off the host.")] = False,
) -> None:
    """Seal the token by which a host with vLLM fetches models that not everybody may have; it comes on stdin."""
    from otobotctl.cli.commands.vault.common import secret_input
    from otobotctl.workflows.gpu import token as workflow

    here = session.of(context)
    where = here.fleet()
    if remove:
        here.confirm(f"Forget the token of {name}? Nobody can read it again.")
    done = workflow.set_token(where, name, "" if remove else secret_input("token"))
    said = f"{name} has {'a' if done.there else 'no'} token of Hugging Face's\nnext: {done.next}"
    here.show("gpu token", done, lambda: said)


def export(
    context: typer.Context,
    name: HostName,
    kind: Annotated[str, typer.Option(help="What for: ray-serve, or production-stack (vLLM's, a Helm chart).")],
) -> None:
    """Print the vLLM hosts of this one's name as Ray Serve LLM or vLLM's production stack would run them, as YAML."""
    from otobotctl.workflows.gpu import export as workflow

    here = session.of(context)
    done = workflow.export(here.fleet(), name, kind)
    here.show("gpu export", done, lambda: done.text.rstrip("\n"))


def status(
    context: typer.Context,
    name: Annotated[str | None, typer.Argument(metavar="[HOST]", help="A GPU host. Default: every one.")] = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    every_s: Annotated[float, typer.Option("--every", min=1, help="With --watch: the pause, in seconds.")] = 10,
    ask_sudo: AskSudo = False,
) -> None:
    """Show cards, models, what is being answered and who asked lately; warn of a model that spills onto the processor.

    Ollama tells nobody of its queue: what waits is what is more than its setting `parallel`.
    """
    from otobotctl.workflows.gpu import status as workflow

    here = session.of(context)
    where, password = here.fleet(), crowd.sudo_password(ask=ask_sudo)

    def look() -> tuple[tuple[GpuStatus, ...], OtobotError | None]:
        return workflow.status(where, name, crowd.Unseen(), password)

    if watch:
        here.watch("gpu status", look, gpu.status, every_s)
    found, error = look()
    here.show("gpu status", found, lambda: gpu.status(found), error)


def usage(
    context: typer.Context,
    host: Annotated[str | None, typer.Argument(metavar="[HOST]", help="A GPU host. Default: every one.")] = None,
    month: Annotated[str | None, typer.Option(help="A month such as 2026-11, in UTC. Default: this one.")] = None,
    html: Annotated[Path | None, typer.Option(help="Also write it as one page, with a chart, to this file.")] = None,
    ask_sudo: AskSudo = False,
) -> None:
    """Count what each client asked in a month: requests, refusals, errors, bytes, times, models, tokens, by day."""
    from otobotctl.cli import pages
    from otobotctl.cli.human import usage as shown
    from otobotctl.workflows.gpu import usage as workflow

    here = session.of(context)
    found, error = workflow.usage(here.fleet(), month, host, crowd.Unseen(), crowd.sudo_password(ask=ask_sudo))
    if html is not None:
        pages.write(here, html, shown.page(found))
    here.show("gpu usage", found, lambda: shown.table(found), error)


def bench(
    context: typer.Context,
    name: HostName,
    model: Annotated[list[str] | None, typer.Option(help="Default: every model of the manifest.")] = None,
    callers: Annotated[
        list[int] | None, typer.Option(min=1, max=256, help="How many ask at once; repeatable. Default: 1, 4 and 16.")
    ] = None,
    tokens: Annotated[int, typer.Option(min=1, max=4096, help="How many tokens each asks for.")] = 128,
    ask_sudo: AskSudo = False,
) -> None:
    """Measure tokens per second and the wait for the first token, on the host itself; clients are slower meanwhile."""
    from otobotctl.workflows.gpu import bench as workflow

    here = session.of(context)
    asked = (here.fleet(), name, model or (), callers or (1, 4, 16), tokens, human.sudo_password(ask=ask_sudo))
    here.say(
        f"asking the models of {name}, one after the other; this may take minutes, and clients are slower meanwhile"
    )
    found = workflow.bench(*asked)
    here.show("gpu bench", found, lambda: gpu.bench(found))
