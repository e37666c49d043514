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
    from rich.console import Console
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

        with bars(Console(stderr=True)) as progress:
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


def bars(console: Console) -> Progress:
    """Bars that say in words how far they are: the field `told`."""
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=console, transient=True)


class Live:
    """A bar that counts the steps of the running stage, and one for each model that is fetched, in bytes."""

    def __init__(self, progress: Progress, *, verbose: bool) -> None:
        self._progress = progress
        self._verbose = verbose
        self._task: TaskID | None = None
        self._models: dict[str, TaskID] = {}
        self._fetching = Fetching()

    def event(self, record: Mapping[str, Any]) -> None:
        """Move the bars; tell what matters above them."""
        kind = record.get("event")
        if kind == "run_start":
            self._begin(str(record.get("stage", "")), len(record.get("steps", ())))
        elif kind == "step_start" and self._task is not None:
            self._progress.update(self._task, description=str(record.get("step", "")))
        elif kind == "archive_start":
            self._begin("archive", int(record.get("members", 0)))
        elif kind in {"step_end", "member_end"} and self._task is not None:
            self._advance(self._task)
        elif kind in {"member_start", "member_bytes"}:
            self._member(record)
        elif (said := progress(record)) is not None:
            self._model(said, self._fetching.told(record))
        text = told(record, verbose=self._verbose)
        if text:
            self._progress.console.print(text, markup=False, highlight=False)

    def _begin(self, what: str, total: int) -> None:
        self._task = self._progress.add_task(what, total=total, told=f"0/{total}")

    def _advance(self, task: TaskID) -> None:
        self._progress.advance(task)
        at = self._progress.tasks[self._progress.task_ids.index(task)]
        self._progress.update(task, told=f"{at.completed:.0f}/{at.total or 0:.0f}")

    def _model(self, said: Mapping[str, Any], words: str) -> None:
        """A bar of its own; it moves by bytes, and begins anew where more parts become known."""
        name = str(said["model"])
        if name not in self._models:
            self._models[name] = self._progress.add_task(name, total=None, told="")
        shown = words.removeprefix(f"{name}: ")
        total = int(said["total"]) or None
        self._progress.update(self._models[name], total=total, completed=int(said["completed"]), told=shown)

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
