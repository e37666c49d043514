"""`exec` and `ssh`: an operator's own commands on a host or in a container; both are in the host's audit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl import person
from otobotctl.agent.protocol import VERSION, ExecRequest
from otobotctl.errors import StepFailedError, UsageError
from otobotctl.render import layout
from otobotctl.workflows import converging, hosts
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class Executed:
    """How a command ended; `target` as it was named."""

    target: str
    argv: tuple[str, ...]
    status: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Visited:
    """A shell on a host that has ended."""

    host: str
    status: int


def execute(
    fleet: Fleet,
    target: str,
    argv: Sequence[str],
    heard: Callable[[int, bytes], None],
    password: Password | None = None,
) -> tuple[Executed, StepFailedError | None]:
    """Run a command on a host ("vps-1") or in a service's container ("acme/n8n"); `heard` gets its output as it comes.

    Raises:
        UsageError: no such target.
        ForbiddenError: the role of the account that logs in may not.
    """
    from otobotctl.converge import asking

    loaded = load(fleet)
    host, request = _request(loaded, target, argv)
    said: dict[int, list[bytes]] = {1: [], 2: []}

    def keep(source: int, data: bytes) -> None:
        said[source].append(data)
        heard(source, data)

    status = asking.execute(converging.opener(loaded, host), request, keep, password)
    stdout, stderr = (b"".join(said[source]).decode("utf-8", "replace") for source in (1, 2))
    done = Executed(target, tuple(argv), status, stdout, stderr)
    failed = StepFailedError(f"{target}: {argv[0]} ended with {status}") if status else None
    return done, failed


def visit(fleet: Fleet, host: str) -> Visited:
    """Open a shell on a host in this terminal, noted in the host's audit before it opens and when it has ended.

    Raises:
        UsageError: the host is this machine.
        ForbiddenError: the role of the account that logs in has no shell.
    """
    from otobotctl.converge import asking
    from otobotctl.transport.local import LOCAL
    from otobotctl.transport.ssh import Settings, interact

    loaded = load(fleet)
    opener = converging.opener(loaded, host)
    if loaded.manifest.host(host).address == LOCAL:
        raise UsageError(f"{host} is this machine", hint="you have a shell here already")
    asking.note(opener, person.name(), "shell")
    status = interact(hosts.target(loaded, host), Settings.from_environment())
    asking.note(opener, person.name(), "shell_end", status)
    return Visited(host, status)


def _request(loaded: Loaded, target: str, argv: Sequence[str]) -> tuple[str, ExecRequest]:
    slug, _, service = target.partition("/")
    request = ExecRequest(
        version=VERSION, op="exec", who=person.name(), client="", project="", service="", argv=list(argv)
    )
    if not service:
        if slug not in loaded.manifest.hosts and slug in loaded.manifest.clients:
            services = ", ".join(loaded.manifest.client(slug).services)
            raise UsageError(f"in which container of {slug}?", hint=f"write {slug}/SERVICE, of: {services}")
        return loaded.manifest.host(slug).name, request
    client = loaded.manifest.client(slug)
    if service not in client.services:
        raise UsageError(f"{slug} has no service {service}", hint=f"its services are: {', '.join(client.services)}")
    return client.host, {**request, "client": slug, "project": layout.project(slug), "service": service}
