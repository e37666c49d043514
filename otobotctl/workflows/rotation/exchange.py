"""`secrets rotate`: one call begins rotations, or goes on with what was begun, and drives all of them together.

Where each stands is what the sealed store says, see `secrets/course.py`; nothing is written down elsewhere. A new value
is in the store before any host has it, a value before leaves the store only when its successor was seen in use, and
every write of the store is whole or not at all: so a call that is killed anywhere is taken up by the next one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from otobotctl import secrets
from otobotctl.errors import StepFailedError, UsageError
from otobotctl.secrets import course, policy
from otobotctl.workflows import converging
from otobotctl.workflows.deploying import archive
from otobotctl.workflows.desired import load
from otobotctl.workflows.rotation import choice, proofs, repositories

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from otobotctl.converge.inside import Place
    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.secrets import Secret, SecretSpec, SecretStore
    from otobotctl.workflows.desired import Loaded
    from otobotctl.workflows.rotation.choice import Choice, Wanted
    from otobotctl.workflows.vault.rotation import Rotation


@dataclass(frozen=True)
class Rotated:
    """What a call did: `rotated` have one valid value, a new one; of `waiting` both are valid until the moment given.

    `undone` have their value before again; `refused` were asked for and cannot be exchanged, each with its reason.
    `archive` is where the archive is that was made first, None where none was. `left` is what only a person can end.
    """

    client: str
    rotated: tuple[str, ...]
    undone: tuple[str, ...]
    waiting: Mapping[str, str]
    refused: Mapping[str, str]
    took_s: float
    archive: str | None = None
    left: tuple[str, ...] = ()


@dataclass
class _Call:
    """What this call has seen so far."""

    settled: list[str] = field(default_factory=list)
    undone: set[str] = field(default_factory=set)
    left: tuple[str, ...] = ()
    before: dict[str, Secret] = field(default_factory=dict)  # the values that this call took out of the store


class Exchange:
    """One call of the command. `tell` gets each line of the story; `listener` follows the deploys."""

    def __init__(
        self, fleet: Fleet, slug: str, listener: Listener, tell: Callable[[str], None], password: Password | None
    ) -> None:
        self._fleet = fleet
        self._slug = slug
        self._listener = listener
        self._tell = tell
        self._password = password
        self._loaded: Loaded = load(fleet)
        self._client = self._loaded.manifest.client(slug)
        self._specs = {spec.name: spec for spec in self._loaded.catalog.specs_of(self._client)}
        self._call = _Call()

    def run(self, wanted: Wanted, *, wait: bool = False, backup: bool = True) -> Rotated:
        """Do what was asked for. `wait`: also until values before are accepted no longer.

        With `backup` an archive comes first where the environment wants one before deploys; once, and not again for
        what goes on.

        Raises:
            UsageError: it cannot be meant, or nothing was begun that could be undone.
            StepFailedError: a value is not valid that should be, or is although it should not.
            LockedError, HostUnreachableError, ManifestError: as a deploy does.
        """
        began = time.monotonic()
        choice.check(wanted, self._slug)
        # Held to the end: what was proved of one rotation must not end another's.
        with secrets.locked(self._fleet.client(self._slug)):
            chosen = self._prepare(wanted)
            file = self._archive() if backup and chosen.names else None
            self._begin(chosen.names)
            self._key_ring()
            waiting = self._drive(wait=wait)
        rotated = tuple(sorted(set(self._call.settled) - self._call.undone))
        undone = tuple(sorted(self._call.undone))
        took = round(time.monotonic() - began, 1)
        return Rotated(self._slug, rotated, undone, waiting, dict(chosen.refused), took, file, self._call.left)

    def _prepare(self, wanted: Wanted) -> Choice:
        store = self._store()
        if wanted.undo:
            self._undo(wanted.names, store)
        elif not wanted.resume:
            return chosen(self._slug, wanted, self._specs, store)
        return choice.Choice((), {})

    def _undo(self, names: Sequence[str], store: SecretStore) -> None:
        """Put the values before in their successors' place. Both stay accepted, and the course goes on from there."""
        able = [name for name in course.under_way(store) if secrets.rotating(store, name) and not self._is_key(name)]
        for name in names or able:
            if name not in able:
                hint = f"otobotctl secrets rotate {self._slug} --resume"
                raise UsageError(f"{name} has no rotation that could be undone", hint=hint)
            store = secrets.undo(store, name)
        if not able:
            hint = f"otobotctl secrets rotate {self._slug} --resume"
            raise UsageError(f"no rotation of {self._slug} can be undone", hint=hint)
        self._save(store)
        self._call.undone.update(names or able)
        self._tell(f"the values before are back in the store: {', '.join(names or able)}")

    def _archive(self) -> str | None:
        """What runs and what the store says, before either changes. Raises StepFailedError: then neither has."""
        file = archive.before_rotation(self._loaded, self._slug, self._listener, self._password)
        if file is not None:
            self._tell(f"archive: {file}")
        return file

    def _begin(self, names: Sequence[str]) -> None:
        """Mint: one write of the store holds every new value, and beside it the one before."""
        if not names:
            return
        # What waits to be deployed is tried before the new values: a deploy that fails goes back to what was before.
        self._deploy("the host is as the fleet says", "nothing was rotated; correct it, then run the command again")
        store = self._store()
        for name in names:
            if self._is_key(name):
                self._rotation().ready()
            elif self._accepts(store.values[name]) is False:
                raise StepFailedError(
                    f"{self._slug} does not accept the {name} that the sealed store has; nothing was rotated",
                    hint=f"otobotctl client deploy {self._slug}",
                )
        now = _now()
        for name in names:
            store = secrets.rotate(store, self._specs[name], now)
        self._let_in(names, store, "nothing was rotated; see that each target answers, then run the command again")
        self._save(store)
        self._tell(f"new values are sealed in the store, those before beside them: {', '.join(names)}")

    def _key_ring(self) -> None:
        """The vault's master key goes first, by the vault's own procedure; its deploys bring the others on too."""
        for name in course.under_way(self._store()):
            if self._is_key(name):
                self._rotation().run()
                self._call.settled.append(name)

    def _drive(self, *, wait: bool) -> Mapping[str, str]:
        """Bring every rotation on, as far as time lets it; return what waits, and until when."""
        while True:
            store = self._store()
            move = course.next_move(store, course.under_way(store), _now())
            if isinstance(move, course.Deploy):
                self._deployed(move)
            elif isinstance(move, course.Retire):
                self._retire(move.names, store)
            elif isinstance(move, course.Wait) and wait:
                self._tell(f"waiting until {move.until:%H:%M:%S} UTC: {', '.join(move.names)}")
                time.sleep(max(0.0, (move.until - _now()).total_seconds()))
            elif isinstance(move, course.Wait):
                return {name: store.metadata[secrets.previous(name)].until for name in move.names}
            else:
                return {}

    def _deployed(self, move: course.Deploy) -> None:
        store = self._store()
        self._let_in(move.begun, store, f"otobotctl secrets rotate {self._slug} --resume")
        why = "the new values are in use" if move.begun else "the values before leave"
        self._deploy(why, f"go on with: otobotctl secrets rotate {self._slug} --resume")
        store = self._store()
        for name in (*move.begun, *move.retired):
            self._prove(store.values[name], valid=True)
        for name in move.retired:
            if name in self._call.before and not (self._is_repositories(name) and self._call.left):
                self._prove(self._call.before[name], valid=False)
            store = secrets.settle(store, name)
            self._call.settled.append(name)
        for name in move.begun:
            held = timedelta(seconds=self._specs[name].hold_s if name in self._specs else 0)
            store = secrets.hold(store, name, _now() + held)
        self._save(store)

    def _retire(self, names: Sequence[str], store: SecretStore) -> None:
        for name in names:
            self._call.before[name] = store.values[secrets.previous(name)]
            if self._is_repositories(name):
                left = self._repositories().let_go(store.values[secrets.previous(name)], store.values[name])
                self._call.left = left
                for line in left:
                    self._tell(line)
            store = secrets.retire(store, name)
        self._save(store)

    def _deploy(self, why: str, hint: str) -> None:
        try:
            done = converging.deploy(self._fleet, self._slug, self._listener, self._password)
        except StepFailedError as error:
            hint = f"{hint}; or: otobotctl secrets rotate {self._slug} --undo" if "--resume" in hint else hint
            raise StepFailedError(error.message, hint=hint, details=error.details) from error
        self._tell(f"{why}: deployed in {done.took_s:.0f} s" if done.changed else f"{why}: deployed already")

    def _let_in(self, names: Sequence[str], store: SecretStore, hint: str) -> None:
        """Before a value is anywhere's current one, every repository knows it: that of none is ever lost with it."""
        for name in names:
            if self._is_repositories(name):
                self._repositories().let_in(store.values[name], store.values[secrets.previous(name)], hint)

    def _prove(self, secret: Secret, *, valid: bool) -> None:
        if self._accepts(secret) not in (valid, None):
            raise StepFailedError(
                f"{self._slug} {'still accepts' if not valid else 'does not accept'} "
                f"the {'new' if valid else 'former'} value of {secret.name.removesuffix('_PREVIOUS')}",
                hint=f"otobotctl secrets rotate {self._slug} --resume",
            )

    def _accepts(self, secret: Secret) -> bool | None:
        """Whether the live system takes this value; None where nothing can be asked."""
        name = secret.name.removesuffix("_PREVIOUS")
        if self._is_repositories(name):
            return self._repositories().opens(secret)
        asked = proofs.question(self._loaded.catalog, self._client.services, name, secret.turn)
        return None if asked is None else proofs.accepted(self._place(), asked, secret)

    def _place(self) -> Place:
        from otobotctl.converge.inside import Place
        from otobotctl.render import layout

        opener = converging.opener(self._loaded, self._client.host)
        return Place(opener, layout.project(self._slug), "", self._slug, self._password)

    def _is_key(self, name: str) -> bool:
        return name in self._specs and self._specs[name].rotation == "key-ring"

    def _is_repositories(self, name: str) -> bool:
        return name in self._specs and self._specs[name].rotation == repositories.HOW

    def _repositories(self) -> repositories.Repositories:
        return repositories.Repositories(self._loaded, self._slug, self._tell, self._password)

    def _rotation(self) -> Rotation:
        from otobotctl.workflows.vault.rotation import Rotation

        return Rotation(self._fleet, self._slug, self._listener, self._tell, self._password)

    def _store(self) -> SecretStore:
        return secrets.open_store(self._fleet.client(self._slug), secrets.identities())

    def _save(self, store: SecretStore) -> None:
        secrets.save(self._fleet.client(self._slug), store, self._loaded.manifest.recipients)


def _now() -> datetime:
    return datetime.now(UTC)


def chosen(slug: str, wanted: Wanted, specs: Mapping[str, SecretSpec], store: SecretStore) -> Choice:
    """What this call would begin. Raises UsageError as `choice.choose`."""
    standings = policy.standings(slug, store.metadata.values(), specs.values(), _now())
    return choice.choose(wanted, slug, specs, standings, store)


def preview(fleet: Fleet, slug: str, wanted: Wanted) -> tuple[Choice, tuple[str, ...]]:
    """What `run` would begin, and what that ends; changes nothing. Raises UsageError, ManifestError."""
    choice.check(wanted, slug)
    loaded = load(fleet)
    specs = {spec.name: spec for spec in loaded.catalog.specs_of(loaded.manifest.client(slug))}
    if wanted.resume or wanted.undo:
        return choice.Choice((), {}), ()
    found = chosen(slug, wanted, specs, secrets.open_store(fleet.client(slug), secrets.identities()))
    return found, tuple(dict.fromkeys(specs[name].because for name in found.names if specs[name].because))
