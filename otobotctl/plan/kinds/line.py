"""One line of a text file that others own."""

from __future__ import annotations

import re
import shlex
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import AbsolutePath, State, printable
from otobotctl.plan.model import Change, Facts, Spec

OneLine = Annotated[str, Meta(pattern=r"\A[^\n\r\x00]*\Z")]


class LineSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`line` is in the file once, and no other line that the regular expression `match` finds.

    It takes the place of the first match, else it goes to the end. Absent: neither the line nor any match is there.
    The file keeps its mode and owner; `create` starts a missing one.
    """

    kind: ClassVar[str] = "line"

    path: AbsolutePath
    line: OneLine | None = None
    match: str | None = None
    create: bool = False
    state: State = "present"

    def __post_init__(self) -> None:
        if self.state == "present" and not self.line:
            raise ValueError("give the line")
        if not self.line and self.match is None:
            raise ValueError("give line or match")
        try:
            re.compile(self.match or "")
        except re.error as error:
            raise ValueError(f"match is not a regular expression: {error}") from error

    def question(self) -> dict[str, Any]:
        """Path, line and match."""
        asked = {"path": self.path, "line": self.line, "match": self.match}
        return {name: value for name, value in asked.items() if value is not None}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By the line itself and what else `match` finds."""
        found, matched = facts["_type"], facts["matched"]
        if found not in ("file", "absent"):
            return (Change("type", found, "file: refused, name the file itself"),)
        if found == "absent" and self.state == "present" and not self.create:
            return (Change("line", "no such file", "refused without create: true"),)
        before = [printable(line) for line in matched]
        if self.state == "absent":
            before += [self.line] if self.line and facts["present"] else []
            return (Change("line", "\n".join(before), "absent"),) if before else ()
        if facts["present"] and not matched:
            return ()
        return (Change("line", "\n".join(before) or "absent", self.line or ""),)

    def title(self) -> str:
        """The path and the line."""
        return f"{self.path}: {self.line or self.match}"

    def commands(self) -> tuple[str, ...]:
        """A sed or a redirection that does about the same."""
        path = shlex.quote(self.path)
        pattern = self.match if self.match is not None else f"^{re.escape(self.line or '')}$"
        if self.state == "absent":
            script = f"\\|{pattern}|d"
            return (f"sed -i -E {shlex.quote(script)} {path}",)
        append = f"grep -qxF {shlex.quote(self.line or '')} {path} || echo {shlex.quote(self.line or '')} >> {path}"
        if self.match is None:
            return (append,)
        return (f"sed -i -E {shlex.quote(f's|.*{pattern}.*|{self.line}|')} {path}", append)

    def touches(self) -> tuple[str, ...]:
        """The path."""
        return (self.path,)


SPEC = LineSpec
