"""The course of a rotation, as a state machine whose whole state is the sealed store. Pure.

    stage     the store says                          what is true                           next
    settled   no entry of a value before              one value is valid                     -
    begun     a value before, not known when it ends  perhaps not deployed: either is in use deploy, prove the new one
    held      a value before, and until when          the new one is in use, both are valid  wait until then, retire
    retired   an empty entry of a value before        perhaps deployed: both may be valid    deploy, prove, settle

Many secrets go through it together: what is to be deployed is deployed at once. Killed anywhere, the same questions
give the same answers.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from otobotctl.secrets.metadata import read_moment
from otobotctl.secrets.model import previous
from otobotctl.secrets.store import SecretStore, rotating


class Stage(StrEnum):
    """How far the rotation of a secret is."""

    SETTLED = "settled"
    BEGUN = "begun"
    HELD = "held"
    RETIRED = "retired"


@dataclass(frozen=True)
class Deploy:
    """Deploy the store as it is; then each of `begun` is in use, and nothing needs the values before of `retired`."""

    begun: tuple[str, ...]
    retired: tuple[str, ...]


@dataclass(frozen=True)
class Retire:
    """Take the values before of these out of the store."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class Wait:
    """Nothing to do before `until`: what was made with the values before of these is still accepted."""

    names: tuple[str, ...]
    until: datetime


def stage(store: SecretStore, name: str) -> Stage:
    """How far the rotation of this secret is."""
    kept = store.metadata.get(previous(name))
    if kept is None:
        return Stage.SETTLED
    if not rotating(store, name):
        return Stage.RETIRED
    return Stage.HELD if kept.until else Stage.BEGUN


def under_way(store: SecretStore) -> tuple[str, ...]:
    """The secrets that are being rotated, by name."""
    return tuple(sorted(name for name in store.metadata if previous(name) in store.metadata))


def next_move(store: SecretStore, names: Iterable[str], now: datetime) -> Deploy | Retire | Wait | None:
    """What brings the rotations of these secrets on; None when each is settled."""
    at: dict[Stage, list[str]] = {each: [] for each in Stage}
    for name in names:
        at[stage(store, name)].append(name)
    ends = {name: read_moment(store.metadata[previous(name)].until) for name in at[Stage.HELD]}
    over = tuple(name for name in at[Stage.HELD] if ends[name] <= now)
    if at[Stage.BEGUN]:
        return Deploy(tuple(at[Stage.BEGUN]), tuple(at[Stage.RETIRED]))
    if over:
        return Retire(over)
    if at[Stage.RETIRED]:
        return Deploy((), tuple(at[Stage.RETIRED]))
    return Wait(tuple(ends), min(ends.values())) if ends else None
