"""What is shown while a host converges: a bar on a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

from otobotctl.cli import output
from otobotctl.cli.human import amounts
from otobotctl.cli.human.fetching import Fetching, progress

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from otobotctl.cli.session import Session


class Watcher(Protocol):
    """Told of every record as it arrives."""

    def event(self, record: Mapping[str, Any]) -> None:
        """One record of a journal, or an event of the engine."""


@contextmanager
def watching(session: Session) -> Iterator[Watcher]:
    """The watcher that fits where stderr goes."""
    if session.as_json:
        yield JsonLines()
    elif output.coloured():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            yield Live(progress, verbose=session.verbose)
    else:
        yield Lines(verbose=session.verbose)


class JsonLines:
    """Each record as a line of JSON on stderr."""

    def event(self, record: Mapping[str, Any]) -> None:
        """Write the record."""
        output.story(json.dumps({"version": output.JSON_VERSION, **record}, ensure_ascii=False))


class Lines:
    """A line for each step that ended."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose
        self._fetching = Fetching()

    def event(self, record: Mapping[str, Any]) -> None:
        """Tell what matters."""
        text = self._fetching.line(record) or told(record, verbose=self._verbose)
        if text:
            output.story(text)


class Live:
    """A bar that counts the steps of the running stage."""

    def __init__(self, progress: Progress, *, verbose: bool) -> None:
        self._progress = progress
        self._verbose = verbose
        self._task: TaskID | None = None
        self._fetching = Fetching()

    def event(self, record: Mapping[str, Any]) -> None:
        """Move the bar; tell what matters above it."""
        kind = record.get("event")
        if kind == "run_start":
            self._task = self._progress.add_task(str(record.get("stage", "")), total=len(record.get("steps", ())))
        elif kind == "step_start" and self._task is not None:
            self._progress.update(self._task, description=str(record.get("step", "")))
        elif kind == "archive_start":
            self._task = self._progress.add_task("archive", total=int(record.get("members", 0)))
        elif kind in {"step_end", "member_end"} and self._task is not None:
            self._progress.advance(self._task)
        elif kind in {"member_start", "member_bytes"}:
            self._member(record)
        elif (words := self._fetching.told(record)) and self._task is not None:
            self._progress.update(self._task, description=words)
        text = told(record, verbose=self._verbose)
        if text:
            self._progress.console.print(text, markup=False, highlight=False)

    def _member(self, record: Mapping[str, Any]) -> None:
        """Nobody knows how large a dump will be: the bar counts members, and the name tells how much has come."""
        if self._task is None:
            return
        size = amounts.size(int(record.get("bytes", 0)))
        self._progress.update(self._task, description=f"{record.get('member')} {size}")


def told(record: Mapping[str, Any], *, verbose: bool) -> str:
    """A record in words; empty when it is not worth a line."""
    kind = record.get("event")
    if progress(record) is not None:
        return ""
    if kind == "output":
        text = str(record.get("text", ""))
        return f"    {text}" if verbose else text if text.startswith("warning: ") else ""
    if kind == "step_end":
        if not record.get("ok"):
            return f"{record.get('step')}: failed"
        what = "changed" if record.get("changed") else "as it was"
        return f"{record.get('step')}: {what} ({float(record.get('took_s', 0)):.1f} s)"
    if kind in {"member_end", "archived"}:
        return _archive_told(record, verbose=verbose)
    return _said(record)


_DOING = {"backup_target": "archiving", "backup_pruning": "removing what is not kept"}


def _said(record: Mapping[str, Any]) -> str:
    match record.get("event"):
        case "hook":
            return f"hook on the {record.get('where')}: {record.get('program')}"
        case "trial":
            return f"trying the vault of {record.get('client')}"
        case "backup_saved":
            size = amounts.size(record.get("bytes", 0))
            return f"{record.get('client')}: {record.get('saved')}: {size}, {amounts.size(record.get('added', 0))} new"
        case "backup_target" | "backup_pruning" as kind:
            return f"{record.get('client')}: {record.get('target') or record.get('pruning')}: {_DOING[kind]}"
        case "reattached" | "lost" | "rebooting" as kind:
            return f"{kind} {record.get('message') or record.get('run') or ''}".rstrip()
    return str(record["text"]) if record.get("event") == "backup_proof" else ""


def _archive_told(record: Mapping[str, Any], *, verbose: bool) -> str:
    size = int(record.get("bytes", 0))
    if record.get("event") == "archived":
        return f"{record.get('file')}: {amounts.size(size)}"
    if str(record.get("member")).startswith("configuration/") and not verbose:
        return ""
    rate = size / max(float(record.get("took_s", 0)), 0.001)
    return f"{record.get('member')}: {amounts.size(size)} ({amounts.size(rate)}/s)"
