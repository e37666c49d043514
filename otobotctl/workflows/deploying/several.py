"""Several clients in one deploy: hosts side by side, the clients of one host one after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from otobotctl.errors import OtobotError, PartialError, UsageError, defect
from otobotctl.workflows.deploying import versions
from otobotctl.workflows.deploying.deploy import Choices, Deployed, DeployPlan, deploy, planned
from otobotctl.workflows.desired import load
from otobotctl.workflows.parallel import Limits, Outcome, each_host

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.manifest import ResolvedManifest
    from otobotctl.workflows.deploying.versions import Version


@dataclass(frozen=True)
class Wanted:
    """Which clients: named ones, every one, or all of an environment; named ones must all be in `environment`."""

    names: tuple[str, ...] = ()
    environment: str | None = None
    every: bool = False

    def of(self, manifest: ResolvedManifest) -> tuple[str, ...]:
        """Return the clients' slugs, each once. Raises UsageError, ManifestError."""
        if not manifest.clients:
            raise UsageError("the fleet has no clients yet", hint="otobotctl client create --help")
        if self.every and (self.names or self.environment):
            raise UsageError("--all is every client already", hint="leave it out, or leave out the others")
        if self.every:
            return tuple(manifest.clients)
        named = tuple(dict.fromkeys(manifest.client(slug).slug for slug in self.names))
        if self.environment is None:
            if not named:
                raise UsageError("which clients?", hint="name them, or give --env ENVIRONMENT or --all")
            return named
        others = [slug for slug in named if manifest.client(slug).environment != self.environment]
        if others:
            there = manifest.client(others[0]).environment
            raise UsageError(
                f"{', '.join(others)}: not in {self.environment}", hint=f"{others[0]} is in {there}; leave out --env"
            )
        found = tuple(slug for slug, each in manifest.clients.items() if each.environment == self.environment)
        if not found:
            raise UsageError(f"no client is in {self.environment}", hint="otobotctl client list")
        return named or found


@dataclass(frozen=True)
class Deploys:
    """What a deploy of several clients did, in the order they were asked for."""

    clients: tuple[Deployed, ...]
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plans:
    """What a deploy of several clients would do."""

    clients: tuple[DeployPlan, ...]
    warnings: tuple[str, ...] = ()


def plans(fleet: Fleet, wanted: Wanted, asked: Sequence[Version], password: Password | None = None) -> Plans:
    """What a deploy would do, client by client; nothing is changed, neither on a host nor in the fleet."""
    loaded = load(fleet)
    slugs = wanted.of(loaded.manifest)
    loaded = versions.imagined(loaded, slugs, asked)
    found = tuple(planned(loaded, slug, password) for slug in slugs)
    return Plans(found, tuple(dict.fromkeys(line for each in found for line in each.warnings)))


def deploys(
    fleet: Fleet,
    wanted: Wanted,
    asked: Sequence[Version],
    choices: Choices,
    limits: Limits,
    listener: Listener,
    password: Password | None = None,
) -> tuple[Deploys, OtobotError | None]:
    """Deploy clients; also return the error that the whole of it amounts to, if any.

    Versions that are asked for are written into the manifest first, and taken out again for a client whose deploy
    failed. A failed client does not keep the others from being deployed, unless `limits` says so.
    """
    loaded = load(fleet)
    slugs = wanted.of(loaded.manifest)
    done: dict[str, Deployed] = {}
    errors: dict[str, OtobotError] = {}
    by_host: dict[str, list[str]] = {}
    for slug in slugs:
        by_host.setdefault(loaded.manifest.client(slug).host, []).append(slug)

    def work(host: str, heard: Listener) -> None:
        for slug in by_host[host]:
            try:
                with versions.written(fleet, slug, asked):
                    done[slug] = deploy(load(fleet), slug, choices, heard, password)
            except OtobotError as error:
                errors[slug] = error
            except BaseException as error:  # noqa: BLE001 one client's defect must not cost the others
                errors[slug] = defect(error)
        failed = [errors[slug] for slug in by_host[host] if slug in errors]
        if failed:
            raise failed[0]

    if len(slugs) == 1:
        with versions.written(fleet, slugs[0], asked):
            only = deploy(load(fleet), slugs[0], choices, listener, password)
        return Deploys((only,), only.warnings), None
    outcomes = each_host(tuple(by_host), work, limits, listener)
    rows = tuple(_row(slug, host, done, errors, outcomes) for host, each in by_host.items() for slug in each)
    ordered = tuple(sorted(rows, key=lambda row: slugs.index(row.client)))
    told = tuple(dict.fromkeys(line for row in ordered for line in row.warnings))
    return Deploys(tuple(replace(row, warnings=()) for row in ordered), told), _partial(ordered, errors)


def _row(
    slug: str,
    host: str,
    done: dict[str, Deployed],
    errors: dict[str, OtobotError],
    outcomes: Sequence[Outcome[None]],
) -> Deployed:
    if slug in done:
        return done[slug]
    if slug in errors:
        return Deployed(slug, host, "failed", error=errors[slug].told())
    reason = next((each.left_out for each in outcomes if each.host == host), "")
    return Deployed(slug, host, "left out", reason=reason)


def _partial(rows: Sequence[Deployed], errors: dict[str, OtobotError]) -> PartialError | None:
    left = [row.client for row in rows if row.state in {"failed", "left out"}]
    if not left:
        return None
    lines = []
    for row in rows:
        if row.client in errors:
            error = errors[row.client]
            remedy = f"; next: {error.hint}" if error.hint else ""
            lines.append(f"{row.client}: exit {error.exit_code}: {error.message}{remedy}")
        elif row.state == "left out":
            lines.append(f"{row.client}: not started: {row.reason}")
    return PartialError(
        f"{len(left)} of {len(rows)} clients were not deployed",
        hint=f"put that right, then: otobotctl deploy {' '.join(left)}",
        details=lines,
    )
