"""(desired stage, facts) -> the steps that differ."""

from __future__ import annotations

from collections.abc import Sequence

from otobotctl.agent.protocol import Question, facts_digest
from otobotctl.plan.model import Change, Facts, PlannedStep, Stage, StagePlan


def questions(stage: Stage) -> list[Question]:
    """What must be asked of a host before this stage can be planned, in the order of its steps."""
    return [{"kind": step.spec.kind, "params": step.spec.question()} for step in stage.steps]


def plan_stage(stage: Stage, facts: Sequence[Facts | None]) -> StagePlan:
    """The steps of `stage` that differ from `facts` (one a step, in order; None: the host cannot look yet).

    A step that watches a path is planned too when an earlier planned step of the stage writes it, or one below it.
    """
    planned: list[PlannedStep] = []
    touched: set[str] = set()
    for step, seen in zip(stage.steps, facts, strict=True):
        if seen is None:
            touched.update(step.spec.touches())
            planned.append(PlannedStep(step, (Change(what="unknown", after="cannot be looked at yet"),), ""))
            continue
        changes = step.spec.compare(seen)
        woken = _woken(touched, step.spec.watches())
        if woken and not changes:
            changes = (Change(what="restart", after=f"because {', '.join(sorted(woken))} changes"),)
        if changes:
            touched.update(step.spec.touches())
            planned.append(PlannedStep(step, changes, facts_digest(dict(seen))))
    pairs = zip(stage.steps, facts, strict=True)
    notes = tuple(note for step, seen in pairs if seen is not None for note in step.spec.notes(seen))
    return StagePlan(stage, tuple(planned), notes)


def _woken(touched: set[str], watched: Sequence[str]) -> set[str]:
    return {path for path in touched if any(path == each or path.startswith(f"{each}/") for each in watched)}
