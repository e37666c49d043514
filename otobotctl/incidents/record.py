"""The records of one incident: lines of JSON, each with the digest of the one before. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Event = Literal["opened", "begun", "done", "failed", "noted", "closed"]
VERSION = 1
_FIRST = "0" * 64


@dataclass(frozen=True)
class Record:
    """One line. `at` is UTC in ISO 8601; `number` counts from 1; `details` hold no secret.

    A `done` or `failed` has the `number` of its `begun` in details["of"]; a `begun` with neither was interrupted.
    """

    number: int
    at: str
    who: str
    event: Event
    action: str
    subject: str
    details: Mapping[str, Any] = field(default_factory=dict)
    previous: str = _FIRST
    digest: str = ""


@dataclass(frozen=True)
class Chain:
    """An incident's records. `broken`: the first line that is not as it was written (0: the chain is whole)."""

    records: tuple[Record, ...]
    broken: int = 0


def following(
    records: tuple[Record, ...],
    event: Event,
    *,
    at: str,
    who: str,
    action: str,
    subject: str,
    details: Mapping[str, Any],
) -> Record:
    """The record that comes after these."""
    previous = records[-1].digest if records else _FIRST
    bare = Record(len(records) + 1, at, who, event, action, subject, details, previous)
    return Record(**{**asdict(bare), "digest": digest(bare)})


def digest(record: Record) -> str:
    """What a record's `digest` must be, from everything else in it."""
    body = {**asdict(record), "version": VERSION}
    del body["digest"]
    return hashlib.sha256(json.dumps(body, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def line(record: Record) -> str:
    """A record as its line, without the newline."""
    return json.dumps({"version": VERSION, **asdict(record)}, ensure_ascii=False)


def parse(text: str) -> Chain:
    """The records of a file's text; those after the first wrong line are kept too, for whoever looks into it."""
    records: list[Record] = []
    broken = 0
    for number, raw in enumerate((each for each in text.splitlines() if each.strip()), 1):
        record = _read(raw)
        if record is None:
            broken = broken or number
            continue
        expected = records[-1].digest if records else _FIRST
        if record.number != number or record.previous != expected or record.digest != digest(record):
            broken = broken or number
        records.append(record)
    return Chain(tuple(records), broken)


def _read(raw: str) -> Record | None:
    try:
        body = json.loads(raw)
        if not isinstance(body, dict) or body.pop("version", None) != VERSION:
            return None
        return Record(**body)
    except (ValueError, TypeError):
        return None


def unended(records: Iterable[Record]) -> tuple[Record, ...]:
    """What was begun and of which nobody knows how it ended."""
    every = tuple(records)
    ended = {record.details.get("of") for record in every if record.event in {"done", "failed"}}
    return tuple(record for record in every if record.event == "begun" and record.number not in ended)
