"""`backup verify` and `backup drill`: a host proves what its archives are worth, and signs what it found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec

from otobotctl import person, shapes
from otobotctl.agent.backup.shapes import NAMESPACE
from otobotctl.agent.protocol import VERSION, ProofRequest
from otobotctl.errors import HostKeyError, OtobotError, PartialError, StepFailedError
from otobotctl.workflows import converging
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from otobotctl.converge.model import Listener, Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.desired import Loaded

OPERATORS = "local-"  # what the fleet's known_hosts has operators' machines under begins so


@dataclass(frozen=True)
class Checked:
    """What a check of one target came to. `error` is kind, message, remedy and details; None: it is well.

    `part` of `of` of its data was read. `damaged` and `whole` are archives; both are empty where nothing is damaged.
    """

    target: str
    part: int
    of: int
    took_s: float
    error: Mapping[str, Any] | None
    damaged: tuple[str, ...]
    whole: tuple[str, ...]
    unknown: bool


@dataclass(frozen=True)
class Verified:
    """Every target that was checked."""

    client: str
    host: str
    targets: tuple[Checked, ...]


@dataclass(frozen=True)
class Drilled:
    """A drill's report. `signed_by` is the fingerprint of the pinned key of `host` that signed its exact text.

    `host` has drilled: the client's own, another one, or an operator's machine (local-WHO-MACHINE).

    `report` is what the host wrote (agent/backup/drilling.py): ok, archive, took_s, rpo_s, parts, checks and more;
    `signed` is the same as it was signed: its exact text, and the signatures.
    """

    client: str
    host: str
    signed_by: str
    report: Mapping[str, Any]
    signed: Mapping[str, Any]


def verify(
    fleet: Fleet,
    slug: str,
    targets: Sequence[str],
    listener: Listener,
    password: Password | None = None,
    *,
    full: bool = False,
) -> tuple[Verified, OtobotError | None]:
    """Check the repositories of a client; also the error that damage, or a check that could not be done, amounts to."""
    loaded = load(fleet)
    host = loaded.manifest.client(slug).host
    results: list[dict[str, Any]] = []
    for record in _ask(loaded, slug, "verify", {"targets": list(targets), "full": full}, password):
        results = record.get("results", results)
        tell(listener, host, record)
    found = Verified(slug, host, tuple(shapes.convert(each, Checked) for each in results))
    return found, _failure(found)


def drill(
    fleet: Fleet, slug: str, target: str, listener: Listener, password: Password | None = None
) -> tuple[Drilled, OtobotError | None]:
    """Restore the newest archive of `target` ("": the first) into throw-away containers on the client's own host.

    Returns the report, and the error that it amounts to. Raises HostKeyError: the report is not the host's.
    """
    loaded = load(fleet)
    host = loaded.manifest.client(slug).host
    done: dict[str, Any] = {}
    for record in _ask(loaded, slug, "drill", {"target": target}, password):
        done = record.get("done", done)
        tell(listener, host, record)
    found = believed(loaded, slug, host, done["signed"])
    wrong = done["error"]
    return found, StepFailedError(wrong["message"], hint=wrong["remedy"]) if wrong else None


def report(fleet: Fleet, slug: str, name: str = "", password: Password | None = None) -> Drilled:
    """A report that the host has kept ("": the newest).

    Raises HostKeyError: it is not the host's. StepFailedError: there is none.
    """
    loaded = load(fleet)
    host = loaded.manifest.client(slug).host
    signed: dict[str, Any] = {}
    for record in _ask(loaded, slug, "reports", {"report": name}, password):
        signed = record.get("signed", signed)
    return believed(loaded, slug, host, signed)


def write(found: Drilled, path: Path) -> None:
    """Write a report and, beside it, its signature: anybody with the host's public key can verify them.

    Raises OtobotError: it cannot be written.
    """
    from otobotctl import atomic

    try:
        atomic.write(path, found.signed["report"].encode())
        atomic.write(path.with_name(path.name + ".sig"), "".join(found.signed["signatures"]).encode())
    except OSError as error:
        raise OtobotError(f"{path} cannot be written: {error.strerror}", hint="name another file with --out") from error


def tell(listener: Listener, host: str, record: Mapping[str, Any]) -> None:
    """Pass on what is worth a line."""
    text = next((words.format(**record) for name, words in _STORY.items() if name in record), "")
    if record.get("check") and record["wrong"]:
        text = f"{record['check']}: {record['wrong']}"
    if text:
        listener.event({"event": "backup_proof", "host": host, "text": text, "record": dict(record)})


_STORY = {
    "of": "reading part {part} of {of} of {target}",
    "archive": "restoring {archive}, {parts} parts",
    "replaying": "replaying PostgreSQL's log until {replaying}, {pieces} pieces",
    "check": "{check}: well",
    "fetching": "fetching {fetching}",
    "starting": "starting {starting}",
    "proving": "proving {proving}",
    "warning": "warning: {warning}",
}


def _ask(
    loaded: Loaded, slug: str, word: str, asked: dict[str, Any], password: Password | None
) -> Iterator[dict[str, Any]]:
    from otobotctl.converge import backups

    who = f"{person.name()} ({word} of {slug}'s archives)"
    request = ProofRequest(version=VERSION, op="proof", who=who, client=slug, word=word, asked=asked)
    return backups.records(converging.opener(loaded, loaded.manifest.client(slug).host), request, [slug], password)


def believed(loaded: Loaded, slug: str, host: str, signed: Mapping[str, Any]) -> Drilled:
    """The report, which a pinned key of the host that drilled has signed: `host`, unless the report names another.

    Raises:
        HostKeyError: it is nobody's.
    """
    from otobotctl.transport import signatures

    text = signed["report"]
    by = _drilled_on(loaded, host, text)
    key = signatures.signer(loaded.fleet.known_hosts, by, NAMESPACE, text, signed["signatures"])
    found = msgspec.json.decode(text.encode()) if key is not None else {}
    if key is None or found["client"] != slug:
        raise HostKeyError(
            f"the report of {slug}'s drill is not signed by a key that the fleet has pinned for {by}",
            hint=_drill_again(slug, by),
        )
    return Drilled(slug, by, key.fingerprint, found, signed)


def _drill_again(slug: str, by: str) -> str:
    if by.startswith(OPERATORS):
        return f"on that operator's machine: otobotctl backup drill {slug} --on local, and commit known_hosts"
    return f"otobotctl backup drill {slug}; where the host's key was replaced: otobotctl host trust {by}"


def _drilled_on(loaded: Loaded, host: str, text: str) -> str:
    """Who says that it has drilled: a host of the manifest or an operator's machine. Only its key proves it."""
    try:
        found = msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        return host
    named = found.get("on") if isinstance(found, dict) else None
    known = isinstance(named, str) and (named in loaded.manifest.hosts or named.startswith(OPERATORS))
    return str(named) if known else host


def _failure(found: Verified) -> OtobotError | None:
    """No error, the one that there is, or PartialError with a line for each."""
    failed = [each for each in found.targets if each.error is not None]
    if not failed:
        return None
    errors = [each.error or {} for each in failed]
    if len(failed) == 1:
        damaged = errors[0]["kind"] == "damaged"
        hint = errors[0]["details"][-1] if damaged else errors[0]["remedy"]
        message = f"{found.client} on {failed[0].target}: {errors[0]['message']}"
        return StepFailedError(
            errors[0]["message"] if damaged else message, hint=hint, details=errors[0]["details"][:-1]
        )
    lines = [line for each in errors for line in (each["message"], *(f"  {one}" for one in each["details"]))]
    hint = f"see docs/backups.md, proving; then otobotctl backup verify {found.client} --full"
    return PartialError(f"{len(failed)} of {len(found.targets)} repositories are not well", hint=hint, details=lines)
