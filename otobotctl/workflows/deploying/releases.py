"""`releases`: what was deployed for a client, when and by whom, as its host keeps it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl.render import layout
from otobotctl.workflows import converging
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from otobotctl.agent.protocol import Question
    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet
    from otobotctl.plan.kinds.earlier_release import EarlierReleaseSpec
    from otobotctl.workflows.desired import Loaded


@dataclass(frozen=True)
class ReleaseRow:
    """A release on the host. `at` (UTC, ISO 8601) is when it was made, `healthy_at` when it was last seen healthy.

    `healthy_at` is None for one that never was; "" where that was before hosts noted it. `versions` are what its
    services run; `changed` says what differs from the release before it.
    """

    number: int
    at: str
    who: str
    current: bool
    healthy_at: str | None
    versions: Mapping[str, str]
    changed: tuple[str, ...]


@dataclass(frozen=True)
class Releases:
    """A client's releases, oldest first. `trouble` are services of the current one that are not well, and how."""

    client: str
    host: str
    current: int | None
    settled: bool
    trouble: Mapping[str, str]
    releases: tuple[ReleaseRow, ...]


def releases(fleet: Fleet, slug: str, password: Password | None = None) -> Releases:
    """Return a client's releases; one remote execution."""
    loaded = load(fleet)
    return told(slug, loaded.manifest.client(slug).host, facts(loaded, slug, password))


def facts(loaded: Loaded, slug: str, password: Password | None = None) -> Mapping[str, Any]:
    """What the host knows of a client's releases, as agent/kinds/earlier_release.py answers it."""
    return observed(loaded, slug, password)[0]


def observed(
    loaded: Loaded, slug: str, password: Password | None = None
) -> tuple[Mapping[str, Any], Mapping[str, Any] | None]:
    """The same, and who holds the host (protocol.Holder), if anybody does."""
    from otobotctl.converge import engine

    host = loaded.manifest.client(slug).host
    asked = spec(slug)
    question: Question = {"kind": asked.kind, "params": asked.question()}
    seen = engine.ask(converging.opener(loaded, host), [question], password=password)
    return converging.told(seen, host, f"what it has of {slug}"), seen.holder


def spec(slug: str, **more: Any) -> EarlierReleaseSpec:
    """The step kind that knows a client's releases."""
    from otobotctl.plan.kinds.earlier_release import EarlierReleaseSpec

    return EarlierReleaseSpec(client=slug, project=layout.project(slug), **more)


def told(slug: str, host: str, known: Mapping[str, Any]) -> Releases:
    """Facts in an operator's words. Pure."""
    rows = tuple(_rows(known["releases"], known["current"]))
    return Releases(slug, host, known["current"], known["settled"], known["_trouble"], rows)


def _rows(known: Sequence[Mapping[str, Any]], current: int | None) -> Iterator[ReleaseRow]:
    before: Mapping[str, Any] | None = None
    for each in known:
        versions = {name: _tag(image) for name, image in (each["images"] or {}).items()}
        healthy = None if each["ran_at"] is None else _time(each["ran_at"])
        changed = tuple(_changes(before, each)) if before else ()
        yield ReleaseRow(
            each["number"], _time(each["at"]), each["who"] or "", each["number"] == current, healthy, versions, changed
        )
        before = each


def _changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """In words: versions that moved, services that came and went; else that something of the files did."""
    old, new = before["images"] or {}, after["images"] or {}
    said = [
        f"{name} {_tag(old[name])} -> {_tag(new[name])}"
        for name in sorted(old.keys() & new.keys())
        if old[name] != new[name]
    ]
    said += [f"{name} {_tag(new[name])} is new" for name in sorted(new.keys() - old.keys())]
    said += [f"{name} is gone" for name in sorted(old.keys() - new.keys())]
    if not said and before["digest"] != after["digest"]:
        said = ["configuration"]
    yield from said or ["nothing: the same files again"]


def _tag(image: str) -> str:
    return image.rpartition(":")[2]


def _time(seconds: float | None) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds") if seconds else ""
