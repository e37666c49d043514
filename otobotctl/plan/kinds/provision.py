"""What a service of a client prepares once it is healthy: accounts, credentials, workflows."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.model import Change, Facts, Spec

_WORDS = {"absent": "(nothing)", "stale": "not as desired"}


class ProvisionSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every one of `items` is in the `service` of `client` as `program`, run in its container, makes it.

    An item is a JSON object with a name, a kind and an id; its other fields may be secret. What the service keeps as it
    is, mostly because somebody changed it there, is told in the words of `kept` and `remedy`.
    """

    kind: ClassVar[str] = "provision"

    client: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9-]{0,62}\Z")]
    project: Annotated[str, Meta(pattern=r"\A[a-z0-9][a-z0-9_-]{0,62}\Z")]
    service: Annotated[str, Meta(min_length=1)]
    program: Annotated[tuple[str, ...], Meta(min_length=1)]
    items: tuple[str, ...]
    kept: str = "was changed there and stays so"
    remedy: str = ""

    def __repr__(self) -> str:
        return f"ProvisionSpec({self.title()!r})"

    def question(self) -> dict[str, Any]:
        """Where to look, and each item by its digest: its content may be secret."""
        told = [
            {**{key: item[key] for key in ("name", "kind", "id")}, "digest": _digest(text)}
            for text, item in zip(self.items, self._parsed(), strict=True)
        ]
        return {"project": self.project, "service": self.service, "program": list(self.program), "items": told}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By what the service's own program says of each item."""
        if not facts["running"]:
            return tuple(Change(item["name"], "unknown until it runs", "as desired") for item in self._parsed())
        if facts["_trouble"]:
            return (Change("look", facts["_trouble"], "an answer"),)
        found = facts["items"]
        states = {item["name"]: found.get(item["name"], "absent") for item in self._parsed()}
        return tuple(Change(name, _WORDS[state], "as desired") for name, state in states.items() if state in _WORDS)

    def notes(self, facts: Facts) -> tuple[str, ...]:
        """Items that the service keeps as they are, although they are not as desired."""
        names = sorted(name for name, state in facts["items"].items() if state == "kept")
        return tuple(f"{self.client}/{self.service}: the {name} {self.kept}; {self.remedy}" for name in names)

    def wire(self) -> dict[str, Any]:
        """Everything, secrets too."""
        asked = self.question()
        pairs = zip(asked["items"], self._parsed(), strict=True)
        return {**asked, "items": [{**item, **told} for told, item in pairs]}

    def title(self) -> str:
        """The client and the service."""
        return f"{self.client} {self.service}"

    def commands(self) -> tuple[str, ...]:
        """The program, fed the items."""
        words = " ".join(self.program)
        return (f"docker compose --project-name {self.project} exec -T {self.service} {words} apply < ITEMS",)

    def _parsed(self) -> list[dict[str, Any]]:
        return [json.loads(text) for text in self.items]


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:32]


SPEC = ProvisionSpec
