"""Which secrets a rotation is about. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl.errors import UsageError
from otobotctl.secrets import course

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otobotctl.secrets import SecretSpec, SecretStore
    from otobotctl.secrets.policy import Standing


@dataclass(frozen=True)
class Wanted:
    """What an operator asked for: names, or all that are due, or all; `resume` what was begun, `undo` it."""

    names: tuple[str, ...] = ()
    due: bool = False
    every: bool = False
    resume: bool = False
    undo: bool = False


@dataclass(frozen=True)
class Choice:
    """The secrets to begin with, and those that were asked for and cannot be exchanged, each with its reason."""

    names: tuple[str, ...]
    refused: Mapping[str, str]


def check(wanted: Wanted, slug: str) -> None:
    """Refuse what cannot be meant. Raises UsageError."""
    said = [bool(wanted.names), wanted.due, wanted.every, wanted.resume, wanted.undo]
    if sum(said) != 1 and not (wanted.names and wanted.undo and sum(said) == 2):  # noqa: PLR2004
        hint = f"name secrets, or say --due, --all, --resume or --undo: otobotctl secrets rotate {slug} --due"
        raise UsageError("say which secrets to rotate", hint=hint)


def choose(
    wanted: Wanted, slug: str, specs: Mapping[str, SecretSpec], standings: Sequence[Standing], store: SecretStore
) -> Choice:
    """Return what to begin.

    Raises:
        UsageError: a name is unknown, or cannot be exchanged; or a rotation that was begun has to end first.
    """
    for name in wanted.names:
        if name not in specs:
            hint = f"its secrets are: {', '.join(sorted(specs))}"
            raise UsageError(f"no service of {slug} has a secret {name}", hint=hint)
    asked = wanted.names or tuple(
        each.name for each in standings if wanted.every or (wanted.due and each.state in {"overdue", "exposed"})
    )
    open_ = course.under_way(store)
    refused = {name: refusal(specs[name]) for name in asked if refusal(specs[name])}
    if wanted.names and refused:
        name, reason = next(iter(refused.items()))
        told = f"otobotctl secrets set {slug} {name}" if specs[name].given else f"otobotctl secrets status {slug}"
        raise UsageError(f"{name} cannot be rotated: {reason}", hint=told)
    if begun := [name for name in wanted.names if name in open_]:
        raise UsageError(f"{begun[0]} is being rotated already", hint=f"otobotctl secrets rotate {slug} --resume")
    return Choice(tuple(name for name in asked if name not in refused and name not in open_), refused)


def refusal(spec: SecretSpec) -> str:
    """Why this secret cannot be exchanged by a machine; "" where it can."""
    if spec.given:
        return "only a person can tell it"
    if spec.rotation == "refused":
        return spec.because
    return "" if spec.rotation else "its service.yaml does not say how"
