"""stdout is the answer, stderr the story. `--json` prints one versioned envelope."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from otobotctl.errors import OtobotError, defect

JSON_VERSION = 1


def envelope(command: str, data: Any, error: dict[str, Any] | None = None) -> str:
    """The one shape that machines read: version, command, ok, data, error."""
    whole = {"version": JSON_VERSION, "command": command, "ok": error is None, "data": data, "error": error}
    return json.dumps(whole, ensure_ascii=False)


def answer(text: str) -> None:
    """Print a line of the answer."""
    sys.stdout.write(text if text.endswith("\n") else text + "\n")
    sys.stdout.flush()


def story(text: str) -> None:
    """Print a line of the story."""
    sys.stderr.write(text + "\n")
    sys.stderr.flush()


def coloured(stream: TextIO | None = None) -> bool:
    """Whether a stream, else stderr, may be coloured: a terminal, and NO_COLOR unset."""
    return (stream or sys.stderr).isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def failure(error: OtobotError, *, as_json: bool) -> None:
    """Say what happened and what to do next."""
    if as_json:
        answer(envelope("", None, error.told()))
    explain(error)


def explain(error: OtobotError) -> None:
    """Say it in words, as a part of the story."""
    mark = "\x1b[31merror:\x1b[0m" if coloured() else "error:"
    story(f"{mark} {error.message}")
    for line in error.details:
        story(f"  {line}")
    if error.hint:
        story(f"next:  {error.hint}")


def unexpected(error: Exception, *, as_json: bool, verbose: bool) -> None:
    """Tell of a bug of ours, in one line; its trace only when it was asked for."""
    failure(defect(error), as_json=as_json)
    if verbose:
        traceback.print_tb(error.__traceback__)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Columns as wide as their widest cell, two spaces apart; says so when there are no rows."""
    cells = [tuple(head), *(tuple(row) for row in rows)]
    if len(cells) == 1:
        return "none"
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    return "\n".join(lines)
