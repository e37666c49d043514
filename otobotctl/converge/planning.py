"""Plans from answers, some of which a host cannot give before an earlier step is applied."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otobotctl.errors import ManifestError, StepFailedError
from otobotctl.plan.stage import plan_stage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otobotctl.converge.model import Answer
    from otobotctl.plan.model import Stage, StagePlan


def plan(host: str, stage: Stage, answers: Sequence[Answer], *, pending: bool = False) -> StagePlan:
    """The steps of `stage` that differ. `pending`: an earlier stage is going to change the host first.

    Raises:
        StepFailedError: the host cannot look at a step, and nothing before it is about to change that.
    """
    found = plan_stage(stage, [answer.facts for answer in answers])
    planned = {step.step.name for step in found.steps}
    for step, answer in zip(stage.steps, answers, strict=True):
        if pending:
            break
        if answer.error is not None:
            raise StepFailedError(
                f"{host}: cannot look at {step.name} ({step.spec.title()}): {answer.error}",
                hint=f"put that right on {host} and run the same command again",
            )
        pending = step.name in planned
    return found


def check_allowed(host: str, plan: StagePlan) -> None:
    """Raise ManifestError for a change that may not be made; nothing of the stage has been applied then."""
    refused = [
        f"{step.step.name}: {change.what} ({change.before} -> {change.after}): {change.refused}"
        for step in plan.steps
        for change in step.changes
        if change.refused
    ]
    if refused:
        raise ManifestError(
            f"{host}: {plan.stage.name} cannot be made as the manifest says",
            hint="change the manifest, or do what each line says",
            details=refused,
        )


def check_settled(host: str, plan: StagePlan, answers: Sequence[Answer]) -> tuple[str, ...]:
    """Return the notes of a stage that was applied.

    Raises:
        StepFailedError: it was applied without an error and is still not as desired.
    """
    for step, answer in zip(plan.stage.steps, answers, strict=True):
        if answer.error is not None:
            raise StepFailedError(
                f"{host}: {step.name} was applied, but cannot be looked at: {answer.error}", hint=_hint(host)
            )
    again = plan_stage(plan.stage, [answer.facts for answer in answers])
    if again.steps:
        left = again.steps[0]
        change = left.changes[0]
        raise StepFailedError(
            f"{host}: {left.step.name} ({left.step.spec.title()}) was applied, but is still not as desired",
            hint=_hint(host),
            details=(f"{change.what}: {change.before or 'nothing'} should be {change.after or 'nothing'}",),
        )
    return again.notes


def _hint(host: str) -> str:
    return f"two steps may disagree, or something on the host puts it back; see: otobotctl host plan {host}"
