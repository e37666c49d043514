"""Makes hosts what their stages say: one execution looks at everything, one more a stage that differs applies it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from otobotctl.agent.protocol import Question
from otobotctl.converge import planning
from otobotctl.converge.convergence import Convergence, look, split
from otobotctl.converge.exchange import Session
from otobotctl.converge.model import (
    Answer,
    HostResult,
    Listener,
    Observation,
    Password,
    Patience,
    Quiet,
)
from otobotctl.plan.stage import questions as questions_of

if TYPE_CHECKING:
    from otobotctl.plan.model import Stage, StagePlan
    from otobotctl.transport.base import Opener

__all__ = [
    "Answer",
    "HostResult",
    "Listener",
    "Observation",
    "Password",
    "Patience",
    "Quiet",
    "ask",
    "converge_host",
    "observe",
    "observe_host",
]


def ask(opener: Opener, questions: Sequence[Question], *, password: Password | None = None) -> Observation:
    """Answer `questions` in one execution. `password` gives sudo's, asked for only when sudo wants it.

    Raises:
        HostUnreachableError: no connection, no login, no way to become root.
    """
    with Session(opener, password) as session:
        return look(session, questions)


def observe(opener: Opener, stages: Sequence[Stage], *, password: Password | None = None) -> Observation:
    """Answer the questions of every stage, in the order of their steps, as `ask` does."""
    return ask(opener, [question for stage in stages for question in questions_of(stage)], password=password)


def observe_host(
    opener: Opener, stages: Sequence[Stage], *, password: Password | None = None, listener: Listener | None = None
) -> tuple[StagePlan, ...]:
    """What an apply would change, stage by stage, in one execution; nothing on the host is touched.

    A step that the host cannot look at before an earlier one is applied is planned as unknown.

    Raises:
        StepFailedError: the host cannot look at a step, and nothing before it would change that.
    """
    asked = [questions_of(stage) for stage in stages]
    with Session(opener, password) as session:
        host = session.door.name
        found = look(session, list(itertools.chain.from_iterable(asked)))
    (listener or Quiet()).event({"event": "observed", "host": host, "holder": found.holder, "last": found.last})
    plans: list[StagePlan] = []
    for stage, answers in zip(stages, split(found.answers, asked), strict=True):
        pending = any(earlier.steps for earlier in plans)
        plans.append(planning.plan(host, stage, answers, pending=pending))
    return tuple(plans)


def converge_host(
    opener: Opener,
    stages: Sequence[Stage],
    *,
    who: str,
    mask: Sequence[str] = (),
    listener: Listener | None = None,
    password: Password | None = None,
    patience: Patience | None = None,
) -> HostResult:
    """Make a host what `stages` say. One execution when it is already; one more for each stage that differs.

    `who` names the operator (user@machine): a run that the same one left behind is followed to its end first. `mask`
    are the secret values that no journal may hold.

    Raises:
        LockedError: another operator's run holds the host.
        DriftError: somebody changed the host between the plan and the apply.
        StepFailedError: a step failed; later ones did not run.
        HostUnreachableError: no connection, or the host stayed away for too long.
        InterruptedRunError: Ctrl-C while a run was under way, which goes on.
    """
    with Session(opener, password) as session:
        return Convergence(session, stages, who, mask, listener or Quiet(), patience or Patience()).result()
