"""Secrets whose former values an earlier release would bring back. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from otobotctl.secrets import previous

if TYPE_CHECKING:
    from otobotctl.secrets import Metadata

_SUFFIX = previous("")


@dataclass(frozen=True)
class Former:
    """What a release has of secrets that were exchanged since: `names`; `lost`, those with which it cannot run.

    `guessed`: the host did not note what the release has, so that this is told by when it and each secret were made.
    """

    names: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    guessed: bool = False


NONE = Former()


def former(release: Mapping[str, Any], now: Collection[Metadata], rings: Collection[str]) -> Former:
    """Compare a release of agent/kinds/earlier_release.py with what is known of a store's secrets.

    `rings` are the secrets that open nothing any more once they were exchanged.
    """
    noted: Mapping[str, str] | None = release["secrets"]
    replaced = set(_older(release, now) if noted is None else _replaced(noted, now))
    # A value before that is in the release beside today's: it would be accepted again.
    again = {name.removesuffix(_SUFFIX) for name in replaced}
    return Former(tuple(sorted(again)), tuple(sorted(replaced & set(rings))), noted is None)


def _replaced(noted: Mapping[str, str], now: Collection[Metadata]) -> Iterator[str]:
    known = {each.name: each.fingerprint for each in now}
    return (name for name, fingerprint in noted.items() if known.get(name) != fingerprint)


def _older(release: Mapping[str, Any], now: Collection[Metadata]) -> Iterator[str]:
    images = release["images"] or {}
    for each in now:
        made = datetime.fromisoformat(each.created).timestamp()
        if each.service in images and made > release["at"] and not each.name.endswith(_SUFFIX):
            yield each.name
