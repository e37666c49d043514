"""What the specs of several kinds share: validated field types, and how differences are worded."""

from __future__ import annotations

import difflib
import re
from typing import Annotated, Literal

from msgspec import Meta

from otobotctl.plan.model import Change, Facts

# Absolute, not the root itself, no "..", no trailing slash, no control characters.
AbsolutePath = Annotated[str, Meta(pattern=r"\A/(?!.*(?:/|\A)\.\.(?:/|\Z))[^\x00-\x1f]*[^/\x00-\x1f]\Z")]
Mode = Annotated[str, Meta(pattern=r"\A[0-7]{4}\Z", description='four octal digits in quotes, such as "0644"')]
Account = Annotated[str, Meta(pattern=r"\A(?:[a-z_][a-z0-9_.-]{0,31}|[0-9]{1,10})\Z")]
Name = Annotated[str, Meta(pattern=r"\A[a-z_][a-z0-9_.-]{0,31}\Z")]
State = Literal["present", "absent"]

_UNPRINTABLE = re.compile(r"[^\t\x20-\x7e\xa0-\U0010ffff]")


def attribute_changes(facts: Facts, wanted: dict[str, str]) -> tuple[Change, ...]:
    """One change for each of `wanted` (mode, owner, group) that the facts do not have."""
    return tuple(
        Change(what, str(facts.get(what, "")), after) for what, after in wanted.items() if facts.get(what) != after
    )


def refusal(facts: Facts, wanted: str) -> Change:
    """What stands there is of another type, which apply will not replace."""
    return Change("type", str(facts["type"]), f"{wanted}: refused, remove what is there by hand first")


def unified(path: str, before: str, after: str) -> str:
    """A unified diff; control characters from a host are shown, never sent to a terminal."""
    lines = difflib.unified_diff(_lines(before), _lines(after), f"{path} (host)", f"{path} (planned)", lineterm="")
    return "\n".join(printable(line) for line in lines)


def _lines(text: str) -> list[str]:
    lines = text.split("\n")
    if lines[-1] == "":
        return lines[:-1]
    return [*lines[:-1], lines[-1] + "\\ no newline at the end"]


def printable(text: str) -> str:
    r"""`text` with every control character but tab written as \xNN."""
    return _UNPRINTABLE.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
