"""`deploy`: validate, plan, archive, release, health, smoke test; keep it, or go back to the release before."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from otobotctl.errors import OtobotError, StepFailedError, TakenBackError
from otobotctl.render.client import services_of
from otobotctl.workflows import secrets
from otobotctl.workflows.converging import PlanRow, converge, desired_of, opener, rows
from otobotctl.workflows.deploying import archive, releases, rollback
from otobotctl.workflows.deploying.hooks import HookRun, Hooks
from otobotctl.workflows.desired import warnings

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener, Password
    from otobotctl.plan.model import Stage, StagePlan
    from otobotctl.transport.base import Opener
    from otobotctl.workflows.desired import Desired, Loaded

_AWAY_S, _STARTING_S, _POLL_S = 60.0, 180.0, 2.0


@dataclass(frozen=True)
class Choices:
    """What an operator leaves out of a deploy; `force` lets services that hold data go back to older versions."""

    backup: bool = True
    smoke: bool = True
    force: bool = False


@dataclass(frozen=True)
class Deployed:
    """One client of a deploy. `state`: unchanged, changed, failed, or left out; `reason` says why it was left out.

    `before` and `release` are the current release's numbers before and after; `archive` is where the archive is that
    was made first, `smoke` the steps of the vault's trial. `executions` counts remote ones, but for that trial's.
    """

    client: str
    host: str
    state: str
    changed: tuple[str, ...] = ()
    before: int | None = None
    release: int | None = None
    archive: str | None = None
    smoke: tuple[str, ...] = ()
    hooks: tuple[HookRun, ...] = ()
    executions: int = 0
    took_s: float = 0.0
    reason: str = ""
    error: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class DeployPlan:
    """What a deploy would do; `archive` says whether one is made first, `back_s` after how long it would go back."""

    client: str
    host: str
    steps: tuple[PlanRow, ...]
    looked_at: int
    archive: bool
    back_s: int
    warnings: tuple[str, ...] = ()


def planned(loaded: Loaded, slug: str, password: Password | None = None) -> DeployPlan:
    """What a deploy of a client would do; nothing is changed."""
    return _Deploy(loaded, slug, Choices(), _Deaf(), password).plan()


def deploy(
    loaded: Loaded, slug: str, choices: Choices, listener: Listener, password: Password | None = None
) -> Deployed:
    """Bring a client, and the host below it, to what the fleet says; other clients that run there stay as they are.

    Raises:
        TakenBackError: the release did not become healthy, or failed its trial; the one before is up again.
        StepFailedError: something failed and nothing was gone back to: its hint says how things are.
        ManifestError, LockedError, DriftError, HostUnreachableError: as an apply does.
    """
    if choices.force:
        loaded = replace(loaded, forced=frozenset({slug}))
    return _Deploy(loaded, slug, choices, listener, password).run()


@dataclass
class _Seen:
    """What the first look has found."""

    known: Any
    plans: tuple[StagePlan, ...]
    stages: tuple[Stage, ...]
    differing: list[StagePlan] = field(default_factory=list)


class _Deaf:
    def event(self, record: Any) -> None:
        """Nobody listens."""


class _Deploy:
    def __init__(
        self, loaded: Loaded, slug: str, choices: Choices, listener: Listener, password: Password | None
    ) -> None:
        self.loaded, self.client, self.choices = loaded, loaded.manifest.client(slug), choices
        self.listener, self.password = listener, password
        self.reached: Opener = opener(loaded, self.client.host)
        self.executions = 0
        self.notes: tuple[str, ...] = ()  # what the host had to say when it was last looked at

    def plan(self) -> DeployPlan:
        seen = self.look(self.desired(), releases.facts(self.loaded, self.client.slug, self.password))
        steps = tuple(row for each in seen.differing for row in rows(each))
        spec = self._spec(seen.stages)
        return DeployPlan(
            self.client.slug,
            self.client.host,
            steps,
            sum(len(stage.steps) for stage in seen.stages),
            self.archive_wanted(seen),
            getattr(spec, "wait_s", 0),
            (*warnings(self.loaded, (self.client,)), *self.notes),
        )

    def run(self) -> Deployed:
        begun = time.monotonic()
        secrets.mint_for(self.loaded, self.loaded.manifest.host(self.client.host))
        wanted = self.desired()
        hooks = Hooks(self.loaded, self.client, self.reached, wanted, self.listener)
        known, before = self.arrive(wanted)
        seen = self.look(wanted, known)
        done = Deployed(self.client.slug, self.client.host, "unchanged", before=before, release=known["current"])
        if seen.differing:
            done = self.change(done, replace(wanted, stages=seen.stages), seen, hooks)
        elif before != known["current"]:
            done = self.prove(replace(done, state="changed"), hooks)
        return replace(
            done,
            hooks=tuple(hooks.done),
            executions=self.executions,
            took_s=round(time.monotonic() - begun, 3),
            warnings=(*warnings(self.loaded, (self.client,)), *self.notes),
        )

    def desired(self) -> Desired:
        return desired_of(self.loaded, self.client.host)

    def arrive(self, wanted: Desired) -> tuple[Mapping[str, Any], int | None]:
        """What the host knows of the client's releases, and the number of the one to go back to.

        A run that a call of ours has left there, which was killed, is followed to its end first.
        """
        known, holder = releases.observed(self.loaded, self.client.slug, self.password)
        self.executions += 1
        before: int | None = known["current"]
        if holder is not None:
            before = known["healthy"]
            done = converge(self.reached, replace(wanted, stages=()), self.listener, self.password)
            known = releases.facts(self.loaded, self.client.slug, self.password)
            self.executions += done.executions + 1
        return known, before

    def look(self, wanted: Desired, known: Mapping[str, Any]) -> _Seen:
        """Look at everything; other clients' releases are left out where they have one."""
        from otobotctl.converge import engine, planning

        plans = engine.observe_host(self.reached, wanted.stages, password=self.password, listener=self.listener)
        self.executions += 1
        ours = [not _is_neighbour(each, self.client.slug) for each in plans]
        kept = [each for each, own in zip(plans, ours, strict=True) if own]
        for each in kept:
            planning.check_allowed(self.client.host, each)
        stages = tuple(each.stage for each in kept)
        self.notes = tuple(note for each in kept for note in each.notes)
        return _Seen(known, plans, stages, [each for each in kept if each.steps])

    def archive_wanted(self, seen: _Seen) -> bool:
        """Whether the environment asks for an archive, there is something to archive, and it is about to change.

        Not where a deploy was cut off: that one had made its own before it touched anything.
        """
        names = {planned.step.name for each in seen.differing for planned in each.steps}
        changes = f"client-{self.client.slug}/release" in names
        wanted = self.choices.backup and self.client.backup.before_deploy
        return wanted and changes and seen.known["current"] is not None and seen.known["settled"]

    def wait_for_databases(self, known: Mapping[str, Any]) -> None:
        """Give databases that are not up some time: after a boot they may still be starting."""
        host = self.loaded.manifest.host(self.client.host)
        engines = {each.name for each in services_of(self.client, host, self.loaded.catalog) if each.engine}
        begun = time.monotonic()
        while time.monotonic() - begun < patience_s([known["_trouble"].get(name) for name in engines]):
            time.sleep(_POLL_S)
            known = releases.facts(self.loaded, self.client.slug, self.password)
            self.executions += 1

    def change(self, done: Deployed, wanted: Desired, seen: _Seen, hooks: Hooks) -> Deployed:
        self._run_hooks(hooks, "before_deploy", done.before)
        if self.archive_wanted(seen):
            self.wait_for_databases(seen.known)
            file = archive.before_deploy(self.loaded.fleet, self.client.slug, self.listener, self.password)
            self.executions += 1
            done = replace(done, archive=file)
        host = converge(self.reached, wanted, self.listener, self.password)
        self.executions += host.executions
        self.notes = host.warnings
        now = self.number()
        done = replace(done, state="changed" if host.changed else "unchanged", changed=host.changed, release=now)
        return self.prove(done, hooks)

    def prove(self, done: Deployed, hooks: Hooks) -> Deployed:
        """Try what is up and healthy; keep it, or go back. Raises TakenBackError, StepFailedError."""
        try:
            done = replace(done, smoke=self.trial())
        except StepFailedError as error:
            raise self.undone(done, error) from error
        if (failed := hooks.run("after_deploy", done.release, self.password)) is not None:
            raise self.undone(done, failed)
        return done

    def number(self) -> int | None:
        """The number of the release that is current now."""
        self.executions += 1
        found: int | None = releases.facts(self.loaded, self.client.slug, self.password)["current"]
        return found

    def trial(self) -> tuple[str, ...]:
        """Try the vault, where there is one, as its users do."""
        if not self.choices.smoke or "vault-api" not in self.client.services:
            return ()
        from otobotctl.workflows.vault import smoke
        from otobotctl.workflows.vault.door import VaultDoor

        self.listener.event({"event": "trial", "host": self.client.host, "client": self.client.slug})
        return smoke.run(VaultDoor(self.loaded.fleet, self.client.slug, self.password)).steps

    def undone(self, done: Deployed, error: OtobotError) -> OtobotError:
        """Go back from a release that came up and does not work; return the error that tells of both."""
        slug, before = done.client, done.before
        if before is None or done.release == before:
            return StepFailedError(
                f"{error.message}; release {done.release} of {slug} stays: there is none before it to go back to",
                hint=error.hint,
                details=error.details,
            )
        way = rollback.Way(slug, done.host, done.release, before, (), ())
        try:
            rollback.back(self.loaded, way, self.listener, self.password, force=True)
        except OtobotError as second:
            return StepFailedError(
                f"{error.message}; and release {before} of {slug} could not be brought back: {second.message}",
                hint=second.hint,
                details=(*error.details, *second.details),
            )
        return TakenBackError(
            f"{error.message}; release {before} of {slug} is back and healthy", hint=error.hint, details=error.details
        )

    def _run_hooks(self, hooks: Hooks, when: str, release: int | None) -> None:
        if error := hooks.run(when, release, self.password):
            raise error

    def _spec(self, stages: Sequence[Stage]) -> Any:
        found = (
            step.spec
            for stage in stages
            for step in stage.steps
            if getattr(step.spec, "client", "") == self.client.slug
        )
        return next(found, None)


def patience_s(states: Iterable[str | None]) -> float:
    """Return how long to wait for databases in all; None is one that is well. Pure.

    One that has begun to start may be replaying what a power cut has left in its log.
    """
    wrong = [state for state in states if state is not None]
    return (_STARTING_S if "starting" in wrong else _AWAY_S) if wrong else 0.0


def _is_neighbour(plan: StagePlan, slug: str) -> bool:
    """Whether a stage is nothing but the release of another client, who has one already, or what that one prepares.

    One without any is brought up too: the proxy of the host serves all of its clients, and waits for their networks.
    """
    specs = [step.spec for step in plan.stage.steps]
    if all(spec.kind == "provision" and getattr(spec, "client", slug) != slug for spec in specs):
        return True
    others = [spec for spec in specs if spec.kind == "compose_release" and getattr(spec, "client", slug) != slug]
    if len(specs) != 1 or not others or not plan.stage.name.startswith("client-"):
        return False
    changes = [change for planned in plan.steps for change in planned.changes]
    return not any(change.what == "release" and change.before == "absent" for change in changes)
