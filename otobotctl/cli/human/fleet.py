"""Many hosts at once: a live table on a terminal, lines that begin with the host elsewhere, JSON lines for machines."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from otobotctl.cli import output
from otobotctl.cli.human import amounts
from otobotctl.cli.human.hosts import plan
from otobotctl.cli.human.progress import JsonLines, Watcher, told

if TYPE_CHECKING:
    from rich.table import Table

    from otobotctl.cli.session import Session
    from otobotctl.workflows.fleetwide import FleetDrift, FleetRun

_RUNNING, _FAILED, _LEFT_OUT, _WAITING, _DONE = "running", "failed", "not started", "waiting", "done"
_URGENT = (_RUNNING, _FAILED, _LEFT_OUT, _WAITING, _DONE)  # on a screen that is too small, the first are seen
_STYLES = {_RUNNING: "cyan", _FAILED: "red", _LEFT_OUT: "yellow", _WAITING: "dim", _DONE: "green"}


@contextmanager
def watching(session: Session) -> Iterator[Watcher]:
    """The watcher that fits where stderr goes."""
    if session.as_json:
        yield JsonLines()
    elif output.coloured():
        from rich.console import Console
        from rich.live import Live

        board = Board()
        console = Console(stderr=True)
        with Live(console=console, get_renderable=lambda: board.table(console.height - 2), transient=True):
            yield board
    else:
        yield HostLines(verbose=session.verbose)


def sudo_password(*, ask: bool) -> Callable[[], str] | None:
    """The sudo password of every host, asked for once and now: a live table leaves no room for a question later."""
    if not ask:
        return None
    from getpass import getpass

    word = getpass("sudo password: ")
    return lambda: word


class Unseen:
    """For what is over in a moment: nothing is shown while it lasts."""

    def event(self, record: Mapping[str, Any]) -> None:
        """Show nothing."""


class HostLines:
    """A line for each thing worth telling; every line begins with its host."""

    def __init__(self, *, verbose: bool) -> None:
        self._verbose = verbose

    def event(self, record: Mapping[str, Any]) -> None:
        """Tell what matters."""
        host = record.get("host")
        text = _of_host(record) or told(record, verbose=self._verbose)
        if host and text:
            output.story(f"{host}: {text.strip()}")


def _of_host(record: Mapping[str, Any]) -> str:
    match record.get("event"):
        case "host_end" if record["ok"]:
            return f"done ({record['took_s']:.1f} s)"
        case "host_end":
            return f"failed: exit {record['code']}: {record['error']}"
        case "host_left_out":
            return f"not started: {record['reason']}"
    return ""


@dataclass
class Row:
    """What the table shows of one host."""

    host: str
    state: str = _WAITING
    doing: str = ""
    changed: int = 0
    started: float = 0.0
    took_s: float = 0.0

    def hear(self, record: Mapping[str, Any]) -> None:
        """Take one event in."""
        match record.get("event"):
            case "host_start":
                self.state, self.doing, self.started = _RUNNING, "connecting", time.monotonic()
            case "observed":
                self.doing = "observed"
            case "planned":
                self.doing = str(record["stage"])
            case "step_start":
                self.doing = str(record["step"])
            case "step_end" if record.get("ok") and record.get("changed"):
                self.changed += 1
            case "lost" | "rebooting" | "reattached" as kind:
                self.doing = kind
            case "host_end":
                self.state = _DONE if record["ok"] else _FAILED
                self.doing = "" if record["ok"] else f"exit {record['code']}: {record['error']}"
                self.took_s = record["took_s"]
            case "host_left_out":
                self.state, self.doing = _LEFT_OUT, str(record["reason"])

    def seconds(self) -> str:
        """How long it has taken so far."""
        if self.state == _RUNNING:
            return f"{time.monotonic() - self.started:.0f} s"
        return f"{self.took_s:.1f} s" if self.state in {_DONE, _FAILED} else ""


@dataclass
class Board:
    """The live table of hosts."""

    rows: dict[str, Row] = field(default_factory=dict)

    def event(self, record: Mapping[str, Any]) -> None:
        """Take one event in; the table is drawn a few times a second."""
        if record.get("event") == "hosts":
            self.rows = {host: Row(host) for host in record["hosts"]}
        elif (row := self.rows.get(str(record.get("host")))) is not None:
            row.hear(record)

    def table(self, height: int) -> Table:
        """Return the table with at most `height` lines."""
        from rich.markup import escape
        from rich.table import Table

        rows = list(self.rows.values())
        count = {state: sum(row.state == state for row in rows) for state in _URGENT}
        title = ", ".join(f"{number} {state}" for state, number in count.items() if number)
        drawn = Table("HOST", "STATE", "DOING", "CHANGED", "TIME", box=None, pad_edge=False, caption=title)
        room = max(height - 2, 1)  # its head and its caption
        if len(rows) > room:
            rows = sorted(rows, key=lambda row: _URGENT.index(row.state))[:room]
        for row in rows:
            state = f"[{_STYLES[row.state]}]{row.state}[/]"
            drawn.add_row(row.host, state, _cut(escape(row.doing)), str(row.changed or ""), row.seconds())
        drawn.columns[2].no_wrap = True
        return drawn


def _cut(text: str) -> str:
    return text.splitlines()[0] if text else ""


def applied(done: FleetRun) -> str:
    """A line for each host, and the sum."""
    cells = [
        (each.host, each.state, str(len(each.changed)), str(each.executions), f"{each.took_s:.1f} s", each.reason)
        for each in done.hosts
    ]
    told_of = output.table(("HOST", "STATE", "CHANGES", "EXECUTIONS", "TIME", ""), cells)
    return f"{told_of}\n{amounts.hosts([each.state for each in done.hosts])}"


def planned(found: FleetDrift, *, explain: bool) -> str:
    """Each host's plan, one after the other, and the sum."""
    parts = [
        f"{each.host}: not looked at: {each.error['message']}" if each.error else plan(each, explain=explain)
        for each in found.hosts
    ]
    return "\n".join([*parts, amounts.hosts([each.state for each in found.hosts])])


def drifted(found: FleetDrift) -> str:
    """Each step that differs, by host, and the sum."""
    lines = []
    for each in found.hosts:
        if each.error:
            lines.append(f"{each.host}: not looked at: {each.error['message']}")
        elif not each.steps:
            lines.append(f"{each.host}: as the fleet says ({each.looked_at} steps)")
        lines += [f"{each.host}: {step.name}: {step.title}: {_changes(step)}" for step in each.steps]
    return "\n".join([*lines, amounts.hosts([each.state for each in found.hosts])])


def _changes(step: Any) -> str:
    return ", ".join(change.what for change in step.changes)
