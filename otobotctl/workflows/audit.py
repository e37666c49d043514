"""`audit`: who did what when, on the hosts and in the fleet, and whether what says so is whole."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from otobotctl import atomic, chain, person
from otobotctl.agent.protocol import audit_row, broken_at, line_digest
from otobotctl.errors import DriftError, ManifestError, OtobotError, PartialError
from otobotctl.workflows import converging
from otobotctl.workflows.desired import load

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from otobotctl.converge.model import Password
    from otobotctl.fleet import Fleet
    from otobotctl.workflows.selection import Selection

_ANCHORS = "hosts.json"
_KNOWN = ("at", "event", "account", "from", "who", "previous")


@dataclass(frozen=True)
class Entry:
    """One row. `at`: UTC, ISO 8601; `where`: the host, or "fleet"; `what`: the rest of the row."""

    at: str
    where: str
    event: str
    who: str
    account: str
    address: str
    what: Mapping[str, Any]


@dataclass(frozen=True)
class Audited:
    """What was found, oldest first. `broken`: what is wrong with it; `unread`: why hosts could not be asked."""

    entries: tuple[Entry, ...]
    broken: tuple[str, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)


def note(fleet: Fleet, words: Sequence[str], code: int) -> None:
    """Add a command that ended to the fleet's own audit. Raises OSError."""
    row = {"event": "command", "who": person.name(), "argv": [*words], "code": code}
    chain.add(fleet.audit / f"{person.name()}.jsonl", row)


def audited(fleet: Fleet, chosen: Selection, password: Password | None = None) -> tuple[Audited, OtobotError | None]:
    """Read the audits of the fleet and of these hosts, and verify each against itself and against the last reading.

    What was read whole is the anchor of the next: `audit/hosts.json` belongs into the fleet's git repository, and shows
    a tail that somebody cut off, or a chain that was written anew, who is root on the host.
    """
    loaded = load(fleet)
    found, broken = _of_fleet(fleet)
    unread: dict[str, str] = {}
    anchors = _anchors(fleet)
    for host in chosen.of(loaded.manifest) if loaded.manifest.hosts else ():
        try:
            lines = _read(converging.opener(loaded, host), password)
        except OtobotError as error:
            unread[host] = error.message
            continue
        wrong = _wrong(host, lines, anchors.get(host))
        broken += wrong
        found += [entry for entry in (_entry(host, audit_row(line)) for line in lines) if entry]
        if lines and not wrong:
            anchors[host] = {"rows": len(lines), "digest": line_digest(lines[-1])}
    _keep(fleet, anchors)
    told = Audited(tuple(sorted(found, key=lambda entry: entry.at)), tuple(broken), unread)
    return told, _error(told)


def since(found: Audited, moment: datetime) -> Audited:
    """The same from a moment (UTC) on."""
    first = moment.replace(tzinfo=UTC).isoformat(timespec="seconds")
    return replace(found, entries=tuple(entry for entry in found.entries if entry.at >= first))


def _read(opener: Any, password: Password | None) -> list[bytes]:
    from otobotctl.converge import asking

    return asking.ledger(opener, person.name(), password).splitlines()


def _of_fleet(fleet: Fleet) -> tuple[list[Entry], list[str]]:
    found: list[Entry] = []
    broken: list[str] = []
    for path in sorted(fleet.audit.glob("*.jsonl")):
        try:
            rows: Iterable[dict[str, Any]] = chain.rows(path)
        except ManifestError as error:
            broken.append(error.message)
            continue
        found += [entry for entry in (_entry("fleet", row) for row in rows) if entry]
    return found, broken


def _wrong(host: str, lines: list[bytes], anchor: Mapping[str, Any] | None) -> list[str]:
    number = broken_at(lines)
    if number is not None:
        return [f"{host}: row {number} of its audit does not follow from the one before"]
    if anchor is None:
        return []
    if len(lines) < anchor["rows"]:
        return [f"{host}: its audit had {anchor['rows']} rows and has {len(lines)}: the end was cut off"]
    if line_digest(lines[anchor["rows"] - 1]) != anchor["digest"]:
        return [f"{host}: row {anchor['rows']} of its audit is not what it was: it was written anew"]
    return []


def _entry(where: str, row: dict[str, Any] | None) -> Entry | None:
    if row is None or not isinstance(row.get("at"), int | float):
        return None
    at = datetime.fromtimestamp(row["at"], UTC).isoformat(timespec="seconds")
    event, who, account, address = (str(row.get(name, "")) for name in ("event", "who", "account", "from"))
    rest = {name: value for name, value in row.items() if name not in _KNOWN}
    return Entry(at, where, event, who, account, address, rest)


def _anchors(fleet: Fleet) -> dict[str, dict[str, Any]]:
    path = fleet.audit / _ANCHORS
    if not path.exists():
        return {}
    try:
        found = json.loads(path.read_text())["hosts"]
        return {str(host): {"rows": int(each["rows"]), "digest": str(each["digest"])} for host, each in found.items()}
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        # Going on without it, and writing a new one, would hide just what it is there to show.
        hint = f"bring it back, such as: git restore {path}"
        raise ManifestError(f"{path} is damaged: it is what shows an audit that was cut", hint=hint) from error


def _keep(fleet: Fleet, anchors: Mapping[str, Mapping[str, Any]]) -> None:
    path = fleet.audit / _ANCHORS
    data = (json.dumps({"version": 1, "hosts": anchors}, indent=1, sort_keys=True) + "\n").encode()
    if anchors and (not path.exists() or path.read_bytes() != data):
        atomic.write(path, data)


def _error(told: Audited) -> OtobotError | None:
    if told.broken:
        hint = "somebody changed what was written: compare with a copy, such as git's or a backup's"
        return DriftError("an audit is not whole", hint=hint, details=told.broken)
    if told.unread:
        details = [f"{host}: {message}" for host, message in told.unread.items()]
        return PartialError("not every host could be asked", hint="run it again for them", details=details)
    return None
