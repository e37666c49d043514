"""The types a plan is made of. Pure: nothing here touches a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import msgspec

Facts = Mapping[str, Any]


@dataclass(frozen=True)
class Change:
    """One difference between a host and what is desired.

    `diff` is a unified diff, already masked of secrets. `refused` says why an apply will not make this change; empty:
    it will.
    """

    what: str
    before: str = ""
    after: str = ""
    diff: str = ""
    refused: str = ""


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One desired resource of one kind. Subclasses are one a module in `plan/kinds/`, and pure."""

    kind: ClassVar[str] = ""

    def question(self) -> dict[str, Any]:
        """What the agent must look at: the identity of the resource, never a secret."""
        raise NotImplementedError

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """How a host with these facts differs; empty when it matches."""
        raise NotImplementedError

    def wire(self) -> dict[str, Any]:
        """What the agent's apply gets; may hold secret contents."""
        return {name: value for name, value in msgspec.to_builtins(self).items() if value is not None}

    def title(self) -> str:
        """A few words for the operator, such as the path or the package names."""
        raise NotImplementedError

    def commands(self) -> tuple[str, ...]:
        """What an operator would type to do the same, for `plan --explain`; secrets never in it."""
        raise NotImplementedError

    def notes(self, facts: Facts) -> tuple[str, ...]:  # noqa: ARG002 most kinds have none
        """What an operator should know of these facts although nothing of it will be changed."""
        return ()

    def touches(self) -> tuple[str, ...]:
        """Paths this step writes; a later service step that watches one of them restarts."""
        return ()

    def watches(self) -> tuple[str, ...]:
        """Paths whose change makes this step necessary."""
        return ()

    def fresh_login(self) -> bool:
        """Whether it must be applied over a login that began after everything before it."""
        return False


@dataclass(frozen=True)
class Step:
    """A named spec. `name` is "<stage>/<step>", unique in a playbook, and what `--step` and the journal call it."""

    name: str
    spec: Spec


@dataclass(frozen=True)
class Stage:
    """Steps planned together against one observation."""

    name: str
    steps: tuple[Step, ...]


@dataclass(frozen=True)
class PlannedStep:
    """A step whose facts differ.

    `seen` is the digest of the facts it was planned from, "" when it was planned because of another step.
    """

    step: Step
    changes: tuple[Change, ...]
    seen: str


@dataclass(frozen=True)
class StagePlan:
    """What one stage would change; no steps: the host matches. `notes` are for the operator, whether it does or not."""

    stage: Stage
    steps: tuple[PlannedStep, ...]
    notes: tuple[str, ...] = ()
