"""What is safe to put right, put right: each fix is an apply of its own, so that one that fails costs no other."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl import person
from otobotctl.errors import OtobotError
from otobotctl.plan.model import Stage, Step
from otobotctl.workflows.converging import opener

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otobotctl.converge.model import Listener, Password
    from otobotctl.doctor.model import Finding, Fix
    from otobotctl.workflows.desired import Loaded


# A service that a refused password keeps from starting needs that password set before it is started again.
_CAUSES = ("docker", "hardening", "clock", "disk", "logins", "schema")


@dataclass(frozen=True)
class Fixed:
    """A fix that was tried; `error` is why it failed, or ""."""

    title: str
    error: str = ""


def fixes(findings: Iterable[Finding]) -> tuple[Fix, ...]:
    """What can be done about these findings, each once; causes before what they cause."""
    ordered = sorted(findings, key=lambda each: _CAUSES.index(each.check) if each.check in _CAUSES else len(_CAUSES))
    return tuple({each.fix.title: each.fix for each in ordered if each.fix is not None}.values())


def fix(
    loaded: Loaded, name: str, wanted: Iterable[Fix], listener: Listener, password: Password | None = None
) -> tuple[Fixed, ...]:
    """Apply fixes to a host, one after the other."""
    return tuple(_one(loaded, name, each, listener, password) for each in wanted)


def _one(loaded: Loaded, name: str, wanted: Fix, listener: Listener, password: Password | None) -> Fixed:
    from otobotctl.converge import engine
    from otobotctl.plan.kinds.login import LoginSpec

    stages = [Stage("doctor", wanted.steps)]
    if wanted.login:
        stages.append(Stage("login", (Step("login/again", LoginSpec()),)))
    who = person.name()
    try:
        engine.converge_host(opener(loaded, name), stages, who=who, listener=listener, password=password)
    except OtobotError as error:
        return Fixed(wanted.title, error.message)
    return Fixed(wanted.title)
