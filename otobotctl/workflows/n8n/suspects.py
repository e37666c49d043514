"""What looks like a secret in a workflow, where n8n's credentials would be its place. Pure; no value is ever told."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_NAMES = re.compile(
    r"(^|[^a-z])(authorization|(api|access|secret|private|auth|client)[-_ ]?(key|token|secret)|token|secret|password|"
    r"passwd|bearer|cookie|x-api-key|apikey)$",
    re.IGNORECASE,
)
_FORMS = re.compile(
    r"\b(?:bearer|basic)\s+[A-Za-z0-9._~+/=-]{12,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\."  # a signed token
    r"|\b(?:sk|pk|rk)[-_](?:live|test|proj|ant)?[-_]?[A-Za-z0-9_-]{16,}"
    r"|\b(?:gh[pousr]_|github_pat_|glpat-|xox[abeprs]-|ntn_|secret_|otk_|ya29\.|AIza|shpat_|SG\.|npm_)[A-Za-z0-9._-]{10,}"
    r"|\bAKIA[0-9A-Z]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|://[^/\s:@{}]+:[^/\s:@{}]+@",  # a password in an address
    re.IGNORECASE,
)
# Long and of every class of letters: a key of somebody's, unless the field says that it is an id.
_LONG = re.compile(
    r"(?=[A-Za-z0-9+/_-]*[0-9])(?=[A-Za-z0-9+/_-]*[a-z])(?=[A-Za-z0-9+/_-]*[A-Z])[A-Za-z0-9+/_-]{40,}={0,2}"
)
_IDS = re.compile(r"(id|url|uri|href|code)$", re.IGNORECASE)
_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
_SHORT = 6  # a literal shorter than this is no secret worth the name


@dataclass(frozen=True)
class Suspect:
    """A place in a workflow: the node, the field in it, and why."""

    node: str
    field: str
    why: str

    def told(self) -> str:
        """One line, without the value."""
        return f"{self.node}: {self.field} {self.why}"


def suspects(workflow: Mapping[str, Any]) -> tuple[Suspect, ...]:
    """Return the places of a workflow that look like a secret, in the order of its nodes."""
    return tuple(
        Suspect(str(node.get("name", "?")), field, why)
        for node in workflow["nodes"]
        for field, why in _walk(node.get("parameters") or {}, "", "")
    )


def _walk(value: Any, path: str, name: str) -> Iterator[tuple[str, str]]:
    """Go through parameters; `name` is what the value is called, by its key or by the field `name` beside it."""
    if isinstance(value, Mapping):
        beside = value.get("name") if isinstance(value.get("name"), str) else ""
        for key, inner in value.items():
            called = beside if beside and key in {"value", "stringValue"} else str(key)
            yield from _walk(inner, f"{path}.{key}".lstrip("."), called)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _walk(inner, f"{path}[{place}]", name)
    elif isinstance(value, str) and (why := _judged(value, name)):
        yield path, why


def _judged(value: str, name: str) -> str:
    literal = _EXPRESSION.sub("", value.removeprefix("=")).strip() if value.startswith("=") else value
    if _FORMS.search(value):
        return "has the form of a secret"
    if _NAMES.search(name) and len(literal) >= _SHORT and " " not in literal.removeprefix("Bearer ").strip():
        return f"is called {name} and holds a text of its own"
    if not _IDS.search(name) and _LONG.search(literal):
        return "holds a long random text"
    return ""
