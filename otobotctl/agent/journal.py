"""A run's journal: one record a line in `runs/<run>.jsonl`, readable by root alone, the last 20 kept."""

from __future__ import annotations

import os
import time
from typing import Any, Dict, List, Optional, Tuple

from otobotctl.agent.lines import decode, encode
from otobotctl.agent.wire import RefusedError

KEPT = 20
_NAME_MAX = 64
_TAIL_BYTES = 1 << 16
_TURNS = (b'"event":"step_start"', b'"event":"run_end"')


class JournalError(Exception):
    """A record could not be written."""


class Journal:
    """The writing end. Records reach the file whole, one write each."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def add(self, event: str, durable: bool = False, **record: Any) -> None:
        """Append one record. `durable`: it survives a power cut. Raises JournalError."""
        rest = memoryview(encode(dict(record, event=event, at=round(time.time(), 3))))
        try:
            while rest:
                rest = rest[os.write(self.descriptor, rest) :]
            if durable:
                os.fsync(self.descriptor)
        except OSError as error:
            raise JournalError("the host's journal cannot be written: {}".format(error.strerror)) from error


def path_of(directory: str, run: str) -> str:
    """The journal's file. Raises RefusedError for a name that no run can have."""
    plain = run.replace("_", "").replace("-", "")
    if not (plain.isascii() and plain.isalnum() and run[0].isalnum() and len(run) <= _NAME_MAX):
        raise RefusedError("refused", "not the name of a run: {!r}".format(run))
    return os.path.join(directory, run + ".jsonl")


def create(directory: str, run: str) -> Journal:
    """Start the journal of a new run and drop the oldest. Raises JournalError; RefusedError when the run exists."""
    path = path_of(directory, run)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    try:
        journal = Journal(os.open(path, flags, 0o600))
    except FileExistsError:
        raise RefusedError("refused", "run {} was started before".format(run)) from None
    except OSError as error:
        raise JournalError("the host's journal cannot be written: {}".format(error.strerror)) from error
    for _, old in _newest_first(directory)[KEPT:]:
        os.unlink(old)
    return journal


def last(directory: str, running: Optional[str]) -> Optional[Dict[str, Any]]:
    """The newest run's summary (protocol.LastRun). `running`: the run that holds the lock, if any."""
    for _, path in _newest_first(directory):
        records = _ends(path)
        if records and records[0].get("event") == "run_start":
            return _summary(records, running)
    return None


def _summary(records: List[Dict[str, Any]], running: Optional[str]) -> Dict[str, Any]:
    start = records[0]
    state, step = "running" if start["run"] == running else "died", None
    for record in records:
        if record["event"] == "step_start":
            step = record["step"]
        elif record["event"] == "run_end":
            state, step = "ok" if record["ok"] else "failed", record["failed"]
    found = {name: start[name] for name in ("run", "who", "at", "stage")}
    return dict(found, state=state, step=step)


def _newest_first(directory: str) -> List[Tuple[int, str]]:
    """(mtime in ns, path) of every journal."""
    try:
        with os.scandir(directory) as entries:
            found = [(entry.stat().st_mtime_ns, entry.path) for entry in entries if entry.name.endswith(".jsonl")]
    except FileNotFoundError:
        return []
    return sorted(found, reverse=True)


def _ends(path: str) -> List[Dict[str, Any]]:
    """The first record, and of the journal's tail those that tell where the run is, in order."""
    with open(path, "rb") as stream:
        records = [stream.readline()]
        begin = stream.tell()
        stream.seek(max(begin, os.fstat(stream.fileno()).st_size - _TAIL_BYTES))
        if stream.tell() > begin:
            stream.readline()
        # Of the others a summary says nothing; in a text that quotes one of these words its quotes are escaped.
        records += [line for line in stream if any(word in line for word in _TURNS)]
    return [record for record in map(parse, records) if record]


def parse(line: bytes) -> Dict[str, Any]:
    """One record; {} for a line that a crash cut short."""
    try:
        record = decode(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) and "event" in record else {}
