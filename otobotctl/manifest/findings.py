"""One result of checking a manifest: where, what and what to do."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

Path = tuple[str | int, ...]

_PLAIN = re.compile(r"[A-Za-z_$][A-Za-z0-9_$-]*")


class Finding(msgspec.Struct, frozen=True):
    """One thing wrong. `path` leads to it from the document's root; `remedy` says what to do."""

    path: Path
    problem: str
    remedy: str

    def __str__(self) -> str:
        where = show(self.path)
        said = f"{where}: {self.problem}" if where else self.problem
        return f"{said}; {self.remedy}" if self.remedy else said


def show(path: Path) -> str:
    """Return the path as an operator reads it: `clients.acme.users[0].email`."""
    shown = ""
    for part in path:
        if isinstance(part, int):
            shown += f"[{part}]"
        elif _PLAIN.fullmatch(part):
            shown += f".{part}" if shown else part
        else:
            shown += f"[{json.dumps(part, ensure_ascii=False)}]"
    return shown


def in_file_order(document: Mapping[str, Any], findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return the findings in the order in which their places stand in the document, each once."""
    unique = dict.fromkeys(findings)
    return tuple(sorted(unique, key=lambda finding: _place(document, finding.path)))


def _place(value: Any, path: Sequence[str | int]) -> tuple[int, ...]:
    """Return the position at each level; what is missing stands where its owner ends."""
    if not path:
        return ()
    first, *rest = path
    if isinstance(value, Mapping) and first in value:
        return (list(value).index(str(first)), *_place(value[str(first)], rest))
    if isinstance(value, list) and isinstance(first, int) and first < len(value):
        return (first, *_place(value[first], rest))
    return (len(value) if isinstance(value, Mapping | list) else 0,)
