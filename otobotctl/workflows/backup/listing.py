"""`backup list`: the archives of a client as its repositories have them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl.errors import OtobotError, PartialError, StepFailedError
from otobotctl.workflows.backup.asking import ask
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet


@dataclass(frozen=True)
class ListedArchive:
    """An archive on a target. `at` is ISO 8601 in UTC, `bytes` before deduplication; None: nobody says."""

    target: str
    id: str
    at: str
    reason: str
    release: int | None
    bytes: int | None
    parts: int
    consistent: bool


@dataclass(frozen=True)
class Moments:
    """A period of which PostgreSQL can be restored to any moment, from a target. ISO 8601 in UTC."""

    target: str
    since: str
    until: str


@dataclass(frozen=True)
class Listing:
    """A client's archives by target, from old to new; `failed` are targets that did not answer.

    `moments` are there with point-in-time recovery.
    """

    client: str
    archives: tuple[ListedArchive, ...]
    failed: tuple[Mapping[str, Any], ...] = ()
    moments: tuple[Moments, ...] = ()


def listed(
    fleet: Fleet, slug: str, targets: Sequence[str] = (), password: Password | None = None
) -> tuple[Listing, OtobotError | None]:
    """The archives of a client, by one execution; also the error that targets without an answer amount to, if any."""
    loaded = load(fleet)
    host = loaded.manifest.client(slug).host
    told = [record["listed"] for record in ask(loaded, host, [slug], "list", password, targets=targets)]
    archives = [archive(each["target"], found) for each in told for found in each["archives"]]
    failed = [{"target": each["target"], **each["error"]} for each in told if each["error"]]
    moments = tuple(
        Moments(each["target"], _iso(period["since"]), _iso(period["until"]))
        for each in told
        for period in each.get("moments", ())
    )
    return Listing(slug, tuple(archives), tuple(failed), moments), _failure(slug, failed, len(told))


def archive(target: str, found: Mapping[str, Any]) -> ListedArchive:
    """An archive of agent/backup/pruning.archives(). What an older one does not say of itself is 0, None or ""."""
    ident = str(found["id"])
    day, clock = ident[:8], ident[9:15]
    at = f"{day[:4]}-{day[4:6]}-{day[6:]}T{clock[:2]}:{clock[2:4]}:{clock[4:]}Z"
    release = found.get("release", "")
    return ListedArchive(
        target,
        ident,
        at,
        str(found.get("reason", "")),
        int(release) if str(release).isdigit() else None,
        found.get("bytes"),
        int(found.get("parts", 0)),
        found.get("consistent") == "yes",
    )


def _iso(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _failure(slug: str, failed: Sequence[Mapping[str, Any]], asked: int) -> OtobotError | None:
    lines = [f"{slug} on {each['target']}: {each['message']}" for each in failed]
    if not lines:
        return None
    if len(lines) == asked == 1:
        return StepFailedError(lines[0], hint=failed[0]["remedy"])
    return PartialError(f"{len(lines)} of {asked} targets did not answer", hint=failed[0]["remedy"], details=lines)
