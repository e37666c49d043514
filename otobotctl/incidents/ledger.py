"""The incidents of a fleet, one file each: FLEET/incidents/<id>.jsonl. A write is the old file or the new one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otobotctl import atomic, person
from otobotctl.errors import DriftError, ManifestError, UsageError
from otobotctl.fleet import locked
from otobotctl.incidents.record import Chain, Event, Record, following, line, parse

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet

_SUFFIX = ".jsonl"
_ID = re.compile(r"\d{4}-\d{2}-\d{2}-\d{1,3}")


class Ledger:
    """The records of one incident."""

    def __init__(self, fleet: Fleet, name: str) -> None:
        if not _ID.fullmatch(name):
            raise UsageError(f"{name} is no incident's id", hint="otobotctl incident list")
        self.name = name
        self.path = folder(fleet) / f"{name}{_SUFFIX}"

    def read(self) -> Chain:
        """Its records. Raises UsageError: there is no such incident."""
        try:
            return parse(self.path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UsageError(f"there is no incident {self.name}", hint="otobotctl incident list") from None
        except (OSError, UnicodeDecodeError) as error:
            raise ManifestError(f"{self.path} cannot be read", hint="restore it from git") from error

    def add(self, event: Event, action: str, subject: str, **details: Any) -> Record:
        """Write one more record, durably. Raises DriftError where an earlier one was changed: nothing is added then."""
        with locked(self.path.parent):
            chain = self.read()
            if chain.broken:
                raise DriftError(
                    f"line {chain.broken} of incidents/{self.path.name} is not as it was written",
                    hint=f"git log -p incidents/{self.path.name} shows what it was; restore it, then run this again",
                )
            return _write(self.path, chain.records, event, action, subject, details)


def open_new(fleet: Fleet, title: str, aware: datetime | None = None) -> Ledger:
    """Begin an incident; `aware` is when it came to be known of (default: now), from which the 72 hours count."""
    now = datetime.now(UTC)
    with locked(folder(fleet)):
        day = now.strftime("%Y-%m-%d")
        number = 1
        while (folder(fleet) / f"{day}-{number}{_SUFFIX}").exists():
            number += 1
        ledger = Ledger(fleet, f"{day}-{number}")
        known = (aware or now).astimezone(UTC).isoformat(timespec="seconds")
        _write(ledger.path, (), "opened", "open", title, {"aware": known})
    return ledger


def every(fleet: Fleet) -> tuple[Ledger, ...]:
    """All incidents, the newest first."""
    names = (path.name.removesuffix(_SUFFIX) for path in folder(fleet).glob(f"*{_SUFFIX}"))
    known = (name for name in names if _ID.fullmatch(name))
    return tuple(Ledger(fleet, name) for name in sorted(known, key=_order, reverse=True))


def folder(fleet: Fleet) -> Path:
    """Where the records are."""
    return fleet.root / "incidents"


def _order(name: str) -> tuple[str, int]:
    day, _, number = name.rpartition("-")
    return day, int(number)


def _write(
    path: Path, records: tuple[Record, ...], event: Event, action: str, subject: str, details: Mapping[str, Any]
) -> Record:
    who = person.name()
    at = datetime.now(UTC).isoformat(timespec="seconds")
    added = following(records, event, at=at, who=who, action=action, subject=subject, details=dict(details))
    text = "".join(f"{line(each)}\n" for each in (*records, added))
    try:
        atomic.write(path, text.encode(), 0o600)
    except OSError as error:
        raise ManifestError(
            f"{path} cannot be written: {error.strerror}", hint="nothing was done; make room, then run this again"
        ) from error
    return added
