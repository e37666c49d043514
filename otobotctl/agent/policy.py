"""Which commands an account may run on this host: the host's own copy of the roles decides.

A role lists commands word by word. A word is itself, or a placeholder: `{name}`, `{number}`, `{path}`; the last one
may end in `...`, for one or more. What is not listed is refused, so an option that turns a reader into a writer is
refused unless the list has it. Commands are run without a shell.
"""

from __future__ import annotations

import json
import posixpath
import re
from typing import Any, Callable, Dict, List, NamedTuple, Sequence

FILE = "/etc/otobot/policy.json"
HOST = "host"
INSIDE = "inside"
EVERYTHING = "admin"  # the role of an account that is in no list: who has sudo

_WORDS = {"{name}": re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:-]*"), "{number}": re.compile(r"[0-9]{1,9}")}
_PATH = "{path}"
_MORE = "..."


class Verdict(NamedTuple):
    """The role that was asked, and why it may not: "" when it may."""

    role: str
    why: str


def read(path: str = FILE) -> Dict[str, Any]:
    """The host's policy; without one every account that gets this far is an administrator's."""
    try:
        with open(path, encoding="utf-8") as stream:
            found: Dict[str, Any] = json.load(stream)
    except FileNotFoundError:
        return {"accounts": {}, "roles": {}}
    return found


def role_of(policy: Dict[str, Any], account: str) -> str:
    """The role of an account."""
    return str(policy["accounts"].get(account, EVERYTHING))


def judge(policy: Dict[str, Any], account: str, place: str, argv: Sequence[str], real: Callable[[str], str]) -> Verdict:
    """Whether `account` may run `argv`. `place`: HOST or INSIDE; `real` follows a path to where it leads."""
    name = role_of(policy, account)
    if not argv or any("\0" in word for word in argv):
        return Verdict(name, "there is no command")
    if name == EVERYTHING:
        return Verdict(name, "")
    role = policy["roles"].get(name)
    if role is None:
        return Verdict(name, "the host does not know the role {}".format(name))
    outside: List[str] = []
    for pattern in role[place]:
        paths = _paths(pattern.split(), argv)
        if paths is None:
            continue
        outside = [path for path in paths if not _below(path, role["paths"], real)]
        if not outside:
            return Verdict(name, "")
    if outside:
        return Verdict(name, "the role {} may not read {}".format(name, outside[0]))
    return Verdict(name, "the role {} may not run {} {}".format(name, argv[0], _where(place)))


def _where(place: str) -> str:
    return "in a container" if place == INSIDE else "with these arguments on the host"


def _paths(pattern: List[str], argv: Sequence[str]) -> Any:
    """The words of `argv` that are paths, if it is of this pattern; else None."""
    if pattern[-1].endswith(_MORE):
        last = pattern[-1][: -len(_MORE)]
        pattern = [*pattern[:-1], *([last] * max(1, len(argv) - len(pattern) + 1))]
    if len(pattern) != len(argv):
        return None
    found = []
    for wanted, word in zip(pattern, argv):
        if wanted == _PATH:
            found.append(word)
        elif wanted in _WORDS:
            if not _WORDS[wanted].fullmatch(word):
                return None
        elif wanted != word:
            return None
    return found


def _below(path: str, allowed: Sequence[str], real: Callable[[str], str]) -> bool:
    """Whether a path, and the place that it leads to, are below one that is allowed."""
    if not path.startswith("/") or ".." in path.split("/"):
        return False
    return all(
        any(each == top or each.startswith(top.rstrip("/") + "/") for top in allowed)
        for each in (posixpath.normpath(path), real(path))
    )


_SECRET = re.compile(r"(?i)^(-{0,2}[a-z0-9_-]*(?:pass|secret|token|key|credential|auth)[a-z0-9_-]*[=:]).+", re.DOTALL)
_SECRET_FOLLOWS = re.compile(r"(?i)^-{1,2}[a-z0-9_-]*(?:pass|secret|token|key|credential)[a-z0-9_-]*$")
_IN_URL = re.compile(r"(://[^/:@\s]*:)[^@/\s]+@")


def shown(argv: Sequence[str]) -> List[str]:
    """The words as an audit may keep them: what looks like a secret's value is not kept."""
    kept: List[str] = []
    hide = False
    for word in argv:
        kept.append("***" if hide else _IN_URL.sub(r"\1***@", _SECRET.sub(r"\1***", word)))
        hide = bool(_SECRET_FOLLOWS.match(word))
    return kept
