"""What the doctor's checks take and give."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from otobotctl.render import layout

if TYPE_CHECKING:
    from otobotctl.manifest.resolved import ResolvedClient, ResolvedHost
    from otobotctl.plan.model import PlannedStep, Step
    from otobotctl.render.catalog import Catalog

Severity = Literal["critical", "warning", "info"]
Need = Literal["host", "outside", "fleet"]
SEVERITIES: tuple[Severity, ...] = ("critical", "warning", "info")


def severity(value: float, warning: float, critical: float) -> Severity | None:
    """How bad a value is that should be low; None: it is well."""
    return "critical" if value >= critical else "warning" if value >= warning else None


@dataclass(frozen=True)
class Fix:
    """What may be done about a finding without asking a person what they meant: steps, each safe to repeat.

    Steps whose `login` is set could shut the operator out, so a new login must prove them.
    """

    title: str
    steps: tuple[Step, ...]
    login: bool = False


@dataclass(frozen=True)
class Finding:
    """One result of a check: what was seen of `subject` (a host, a client, or client/service), and the remedy.

    `remedy` is a command wherever one command does it. No secret is in any field.
    """

    severity: Severity
    subject: str
    seen: str
    remedy: str
    fix: Fix | None = None
    check: str = ""


@dataclass(frozen=True)
class Login:
    """A login that must work: `role` of `database` with the password that the service `holder` has in `variable`.

    `server` is the service that answers, of this `engine`: postgres, mongo or redis. Logins take turns when passwords
    are exchanged, so the name is what the service has in its variable `user`, where it has one.
    """

    client: str
    engine: str
    server: str
    role: str
    database: str
    holder: str
    variable: str
    user: str = ""


@dataclass(frozen=True)
class Query:
    """A question to one of a client's PostgreSQL databases; one statement that changes nothing."""

    client: str
    database: str
    sql: str


@dataclass(frozen=True)
class Variable:
    """A variable that a service must have; `filled`: not empty. `kind`: that of the secret in it, "" for a setting."""

    kind: str
    secret: str = ""
    filled: bool = True


@dataclass(frozen=True)
class Wanted:
    """What a host is held against, all without a key.

    `variables`: by client, service and name. `images`: by client and service, what should run. `ports`: by client and
    service, those on the host's 127.0.0.1. `names`: by client, the host names that are served. `due`: by client, days
    left of each secret that is due soon (negative: overdue). `expected`: by client, the services that should run.
    """

    variables: Mapping[str, Mapping[str, Mapping[str, Variable]]] = field(default_factory=dict)
    images: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ports: Mapping[str, Mapping[str, tuple[int, ...]]] = field(default_factory=dict)
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    due: Mapping[str, tuple[tuple[str, float], ...]] = field(default_factory=dict)
    logins: tuple[Login, ...] = ()


@dataclass(frozen=True)
class Handshake:
    """What a visitor of `name` from the operator's machine met at `address`. `error`: "" when TLS came about.

    `trusted` is "" where this machine believes the certificate, else why not.
    """

    name: str
    address: str
    error: str = ""
    trusted: str = ""


@dataclass(frozen=True)
class Outside:
    """What the operator's machine sees of a host.

    `resolved`: addresses by name (empty: none), or None where the name servers did not answer. `ports`: whether each
    (address, port) answered. `targets`: the addresses that the host is looked at by.
    """

    targets: tuple[str, ...] = ()
    resolved: Mapping[str, tuple[str, ...] | None] = field(default_factory=dict)
    ports: Mapping[tuple[str, int], bool] = field(default_factory=dict)
    handshakes: tuple[Handshake, ...] = ()


@dataclass(frozen=True)
class Case:
    """All that is known of one host: what it answered, what is wanted of it, what is seen from outside.

    `facts` is None where the host could not be asked, and `unreachable` says why. `answers` are the rows of each query
    (or a text: why there are none). `drift` are the hardening steps that differ. `clock_s` is how far its clock is
    ahead of ours, give or take `doubt_s`. `now` in Unix seconds.
    """

    host: ResolvedHost
    clients: tuple[ResolvedClient, ...]
    catalog: Catalog
    wanted: Wanted
    now: float
    facts: Mapping[str, Any] | None = None
    unreachable: str = ""
    remedy: str = ""
    last: Mapping[str, Any] | None = None
    answers: Mapping[Query, tuple[tuple[str, ...], ...] | str] = field(default_factory=dict)
    drift: tuple[PlannedStep, ...] = ()
    clock_s: float = 0.0
    doubt_s: float = 0.0
    outside: Outside | None = None

    def served(self) -> Iterator[tuple[str, str, tuple[str, ...]]]:
        """Whose names the host's proxy shows: what a finding calls them, where certificates are from, and the names."""
        for client in self.clients:
            yield client.slug, client.tls, self.wanted.names.get(client.slug, ())
        if self.host.gpu:
            yield self.host.name, str(self.host.gpu.tls), self.wanted.names.get(layout.FRONT, ())

    @property
    def renewal(self) -> str:
        """What gets a certificate that is late: nginx's come by the host's own script, and Caddy asks by itself."""
        if self.host.gpu or any("caddy" in client.services for client in self.clients):
            return f"otobotctl host apply {self.host.name}"
        return f"ssh {self.host.address} sudo otobot-certificates now"

    def subject(self, container: Mapping[str, Any]) -> str:
        """What a finding about a container calls it: client/service, or its own name where nobody deployed it."""
        client = container["project"].removeprefix("otobot-")
        return f"{client}/{container['service']}" if client else str(container["name"])

    def containers(self, project: str) -> tuple[Mapping[str, Any], ...]:
        """A project's own containers; nobody's `docker compose run`."""
        every = (self.facts or {}).get("containers", ())
        return tuple(each for each in every if each["project"] == project and not each["once"])

    def rows(self, query: Query) -> tuple[tuple[str, ...], ...] | None:
        """What a query answered; None where it could not be asked."""
        found = self.answers.get(query)
        return None if found is None or isinstance(found, str) else found


@dataclass(frozen=True)
class Check:
    """One thing to look at. `judge` yields findings; `needs`: which side of the facts, else it is passed over.

    `queries` are what it wants to ask of each client's PostgreSQL; `marks` what it looks for in the logs of services
    that are not well: {service: {name: pattern}}.
    """

    name: str
    about: str
    judge: Callable[[Case], Iterable[Finding]]
    needs: Need = "host"
    queries: Callable[[ResolvedClient], Iterable[Query]] = lambda _client: ()
    marks: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
