"""A new master key for a client's vault, while it answers.

Where a rotation stands is what the sealed store and the vault say, and nothing else: run again, it goes on there.

    the store keeps the key before    the vault may know neither or both keys; values may need either
    ... keeps it, empty               the vault's proof said that nothing needs the key before; containers may know it
    ... keeps nothing                 no rotation is under way
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl import secrets
from otobotctl.errors import StepFailedError
from otobotctl.vault_api import contract
from otobotctl.workflows import converging
from otobotctl.workflows.deploying import archive
from otobotctl.workflows.desired import load
from otobotctl.workflows.vault.door import VaultDoor

if TYPE_CHECKING:
    from collections.abc import Callable

    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded

KEY = "ENCRYPTION_MASTER_KEY"
_KNOWN_BY = ("vault-api", "token-refresher")


@dataclass(frozen=True)
class Rotated:
    """What a rotation did. `version` is the new key's number in the vault, `sealed` how many values this run sealed.

    `archive` is where the archive is that was made first, None where none was.
    """

    client: str
    version: int
    sealed: int
    resumed: bool
    took_s: float
    archive: str | None = None


class Rotation:
    """One call of the command. `tell` gets each line of the story; `listener` follows the deploys."""

    def __init__(
        self, fleet: Fleet, slug: str, listener: Listener, tell: Callable[[str], None], password: Password | None
    ) -> None:
        self._fleet = fleet
        self._slug = slug
        self._listener = listener
        self._tell = tell
        self._password = password
        self._vault = VaultDoor(fleet, slug, password)
        self._loaded: Loaded = load(fleet)

    def run(self, *, backup: bool = True) -> Rotated:
        """Rotate, or go on with what was begun. With `backup` as `Exchange.run`.

        Raises:
            StepFailedError: the vault does not run, has another key than the store, or still needs the key before.
            LockedError, HostUnreachableError, ManifestError: as a deploy does.
        """
        # Held to the end: what was proved of one rotation must not end another's.
        with secrets.locked(self._fleet.client(self._slug)):
            return self._run(backup=backup)

    def ready(self) -> None:
        """Raise StepFailedError where the vault is not there, or has another key than the store."""
        self._check(previous=0)

    def _run(self, *, backup: bool) -> Rotated:
        begun = time.monotonic()
        resumed = secrets.previous(KEY) in self._store().values
        file = None
        if not resumed:
            self._check(previous=0)
            file = self._archive() if backup else None
            self._mint()
        sealed = 0
        if secrets.rotating(self._store(), KEY):
            self._deploy("both keys go to the vault")
            sealed = self._rewrap()
            self._change(secrets.retire)
        self._deploy("the key before leaves the vault")
        found = self._check(previous=0)
        self._change(secrets.settle)
        return Rotated(self._slug, found["version"], sealed, resumed, round(time.monotonic() - begun, 1), file)

    def _store(self) -> secrets.SecretStore:
        return secrets.open_store(self._fleet.client(self._slug), secrets.identities())

    def _change(self, change: Callable[[secrets.SecretStore, str], secrets.SecretStore]) -> None:
        directory = self._fleet.client(self._slug)
        secrets.save(directory, change(self._store(), KEY), self._loaded.manifest.recipients)

    def _archive(self) -> str | None:
        file = archive.before_rotation(self._loaded, self._slug, self._listener, self._password)
        if file is not None:
            self._tell(f"archive: {file}")
        return file

    def _mint(self) -> None:
        """Begin: a new key in the store, the one before beside it. The vault is there, and fits."""
        # A deploy that fails goes back to a release without the new key: what waits to be deployed is tried before it.
        self._deploy("the host is as the fleet says")
        spec = next(each for each in self._loaded.catalog.secret_specs(self._vault.services) if each.name == KEY)
        self._change(lambda store, _name: secrets.rotate(store, spec, datetime.now(UTC)))
        self._tell("a new key is sealed in the store, and the one before is kept beside it")

    def _deploy(self, why: str) -> None:
        done = converging.deploy(self._fleet, self._slug, self._listener, self._password)
        self._tell(f"{why}: deployed in {done.took_s:.0f} s" if done.changed else f"{why}: deployed already")

    def _check(self, *, previous: int) -> dict[str, Any]:
        """Ask each container which keys it was given; all must have the store's, and so many older ones."""
        wanted = contract.key_check(self._store().values[KEY].reveal())
        found: dict[str, Any] = {}
        for service in (each for each in reversed(_KNOWN_BY) if each in self._vault.services):
            found = json.loads(self._vault.run("rewrap", "--look", service=service))
            if (found["key"], found["previous"]) != (wanted, previous):
                raise StepFailedError(
                    f"{service} of {self._slug} does not run with the keys that the sealed store has",
                    hint=f"otobotctl client deploy {self._slug}",
                )
        return found

    def _rewrap(self) -> int:
        """Seal everything anew; return how many values. Raises StepFailedError: something still needs an older key."""
        self._check(previous=1)
        self._tell("sealing every stored value anew")
        said = self._vault.run("rewrap", "--progress", failing=True, heard=self._heard)
        done: dict[str, Any] = json.loads(said.splitlines()[-1])
        if done.get("left") != {}:
            raise StepFailedError(
                f"{sum(done.get('left', {}).values())} values of {self._slug} still need the key before; it stays",
                hint=f"run it again: otobotctl vault rotate-key {self._slug}",
            )
        # Another look, after the fact and from the containers as they are now: the key leaves the store only on this.
        if self._check(previous=1)["left"]:
            raise StepFailedError(
                f"a value of {self._slug} was sealed under the key before meanwhile; it stays",
                hint=f"run it again: otobotctl vault rotate-key {self._slug}",
            )
        return int(done["sealed"])

    def _heard(self, line: bytes) -> None:
        found = json.loads(line)
        if "of" in found:
            self._tell(f"  {found['sealed']} of {found['of']}")


def rotate_key(
    fleet: Fleet,
    slug: str,
    listener: Listener,
    tell: Callable[[str], None],
    password: Password | None = None,
    *,
    backup: bool = True,
) -> Rotated:
    """Replace a client's master key; killed at any point, the same call goes on. See `Rotation.run` for errors."""
    return Rotation(fleet, slug, listener, tell, password).run(backup=backup)
