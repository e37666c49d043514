"""`backup prune`: from the operator's machine, because what a host may delete, whoever takes it over may delete."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl import secrets
from otobotctl.agent.backup.keeping import groups
from otobotctl.agent.backup.pitr import segments
from otobotctl.backup import pruning
from otobotctl.errors import OtobotError, UsageError
from otobotctl.manifest import backups as words
from otobotctl.render import backups
from otobotctl.transport.restic import Repository
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from otobotctl.agent.backup.keeping import Verdict
    from otobotctl.fleet import Fleet
    from otobotctl.manifest.models import BackupTarget

_OWN: Mapping[str, tuple[str, ...]] = {
    "s3": ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"),
    "rest": ("RESTIC_REST_USERNAME", "RESTIC_REST_PASSWORD"),
}


@dataclass(frozen=True)
class Pruning:
    """What a prune of one target would do."""

    client: str
    target: str
    append_only: bool
    plan: Verdict
    repository: Repository


@dataclass(frozen=True)
class Pruned:
    """The answer: archives by id, from old to new."""

    client: str
    target: str
    kept: Mapping[str, tuple[str, ...]]
    forgotten: tuple[str, ...]
    orphans: tuple[str, ...]
    took_s: float


def look(fleet: Fleet, slug: str, target: str = "", repository: str = "") -> Pruning:
    """Look into a repository and decide what goes; change nothing.

    `target`: "" where there is but one. `repository`: how this machine reaches it, where that is another way than the
    host's. Credentials are those of this machine's environment; without any, and where the host may delete too, those
    that are sealed with the client's secrets.

    Raises:
        UsageError: no such target, or several; or an append-only one without credentials of one's own.
        OtobotError: what is in it speaks against a prune, or restic fails.
    """
    loaded = load(fleet)
    client = loaded.manifest.client(slug)
    name = _chosen(slug, tuple(client.backup.targets), target)
    chosen = client.backup.targets[name]
    store = secrets.open_store(loaded.fleet.client(slug), secrets.identities())
    values = {each: secret.reveal() for each, secret in store.values.items()}
    where = Repository(name, repository or chosen.repository, _variables(slug, name, chosen, values, repository))
    listed, keep, now = where.snapshots(), client.backup.keep, time.time()
    found = groups(listed)
    wrong = pruning.against(found, keep, now, append_only=chosen.append_only)
    if wrong:
        hint = f"see who wrote them (restic snapshots), and how {slug}'s host is, before anything is deleted"
        raise OtobotError(f"{slug} on {name}: nothing is pruned", hint=hint, details=wrong)
    decided = pruning.plan(found, keep, now, append_only=chosen.append_only)
    log = segments.gone(listed, client.backup.pitr_days, now)
    decided = decided._replace(parts=[*decided.parts, *log])
    return Pruning(slug, name, chosen.append_only, decided, where)


def prune(looked: Pruning) -> Pruned:
    """Forget what the plan says, archive.json first, and free its room. Raises OtobotError: restic failed.

    What was added since is not touched: snapshots are forgotten by their ids.
    """
    began = time.monotonic()
    where = looked.repository
    where.forget(looked.plan.heads)
    where.forget(looked.plan.parts)
    where.prune()
    kept = {name: tuple(why) for name, why in looked.plan.keep.items()}
    took_s = round(time.monotonic() - began, 3)
    return Pruned(looked.client, looked.target, kept, tuple(looked.plan.forget), tuple(looked.plan.orphans), took_s)


def _chosen(slug: str, names: tuple[str, ...], target: str) -> str:
    if not names:
        raise UsageError(f"{slug} has no backup targets", hint="name one in the manifest: docs/backups.md")
    if target and target not in names:
        raise UsageError(f"{slug} has no target {target}", hint=f"it has {', '.join(names)}")
    if not target and len(names) > 1:
        raise UsageError("which target?", hint=f"add --target, one of {', '.join(names)}")
    return target or names[0]


def _variables(
    slug: str, name: str, target: BackupTarget, values: Mapping[str, str], repository: str
) -> dict[str, str]:
    """What restic gets: the repository's key, and the credentials of whoever asks."""
    if backups.KEY not in values:
        raise OtobotError(f"{slug} has no {backups.KEY} yet", hint=f"otobotctl backup schedule {slug} --init")
    found = {"RESTIC_PASSWORD": values[backups.KEY]}
    kind = words.scheme(repository or target.repository)
    own = {each: os.environ[each] for each in _OWN.get(kind, ()) if os.environ.get(each)}
    if own or kind not in _OWN:
        return found | own
    if target.append_only:
        raise UsageError(
            f"{name} is append-only: the credentials that the host has cannot delete there",
            hint=f"set {' and '.join(_OWN[kind])} to credentials that only operators have, or name another way there "
            "with --repository",
        )
    sealed = {variable: values[secret] for variable, secret in backups.credentials(name, target).items()}
    return found | sealed
