"""One line of a text file that others own."""

from __future__ import annotations

import os
import re
from typing import Any, Dict, List, Optional, Tuple

from otobotctl.agent import files
from otobotctl.agent.run import ProbeError, Run, StepError

LIMIT_BYTES = 1 << 20


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: `present` (the very line is there), `matched` (other lines that `match` finds), `_type` of the file."""
    found = files.describe(params["path"])["type"]
    lines: List[str] = []
    if found == "file":
        try:
            lines = _split(_read(params["path"])[0])
        except (OSError, ValueError) as error:
            raise ProbeError("cannot read {}: {}".format(params["path"], error)) from error
    return {
        "_type": found,
        "present": bool(params.get("line")) and params["line"] in lines,
        "matched": [line.encode("utf-8", "replace").decode() for line in lines if _matches(line, params)],
    }


def apply(params: Dict[str, Any], run: Run) -> None:
    """Put the line there once, in the place of the first line that `match` finds, or at the end; or take it away."""
    path, absent = params["path"], params.get("state") == "absent"
    found = files.describe(path)["type"]
    if found == "absent":
        if not absent:
            _create(params, run)
        return
    if found != "file":
        raise StepError("{} is a {}, not a file; name the file itself".format(path, found))
    try:
        text, status = _read(path)
        wanted = without(text, params) if absent else edited(text, params)
        if wanted == text:
            return
        with files.open_folder(os.path.dirname(path)) as folder:
            data = wanted.encode("utf-8", "surrogateescape")
            files.replace_at(folder, os.path.basename(path), data, status.st_mode & 0o7777, _ids(status))
    except (OSError, ValueError) as error:
        raise StepError("cannot edit {}: {}".format(path, error)) from error
    run.say("edited {}".format(path))


def edited(text: str, params: Dict[str, Any]) -> str:
    """`text` with the line in it, and no other line that `match` finds."""
    wanted, kept = params["line"], []  # type: str, List[str]
    lines = _split(text)
    placed = wanted in lines
    for line in lines:
        if not _matches(line, params):
            kept.append(line)
        elif not placed:
            kept.append(wanted)
            placed = True
    if not placed:
        kept.append(wanted)
    return text if kept == lines else _join(kept)


def without(text: str, params: Dict[str, Any]) -> str:
    """`text` without the line and without every line that `match` finds."""
    lines = _split(text)
    kept = [line for line in lines if line != params.get("line") and not _matches(line, params)]
    return text if kept == lines else _join(kept)


def _matches(line: str, params: Dict[str, Any]) -> bool:
    pattern: Optional[str] = params.get("match")
    return pattern is not None and line != params.get("line") and re.search(pattern, line) is not None


def _split(text: str) -> List[str]:
    lines = text.split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def _join(lines: List[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _read(path: str) -> Tuple[str, os.stat_result]:
    with files.open_regular(path) as descriptor:
        status = os.fstat(descriptor)
        if status.st_size > LIMIT_BYTES:
            raise ValueError("it is larger than 1 MiB")
        data = files.read(path, LIMIT_BYTES)
    # What is not UTF-8 comes out as it went in.
    return (data or b"").decode("utf-8", "surrogateescape"), status


def _ids(status: os.stat_result) -> Tuple[int, int]:
    return status.st_uid, status.st_gid


def _create(params: Dict[str, Any], run: Run) -> None:
    path = params["path"]
    if not params.get("create"):
        raise StepError("{} does not exist; set `create: true` to start it".format(path))
    files.write(path, _join([params["line"]]).encode("utf-8"), 0o644, *files.me())
    run.say("made {}".format(path))
