"""Makes hosts what their stages say: one execution looks at everything, one more a stage that differs applies it."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otobotctl.agent.protocol import VERSION, ObserveRequest, Question
from otobotctl.converge import following, planning
from otobotctl.converge.exchange import RefusedError, Session, locked
from otobotctl.converge.model import (
    Answer,
    HostResult,
    Listener,
    Observation,
    Password,
    Patience,
    Quiet,
    answer_of,
)
from otobotctl.errors import HostUnreachableError, InterruptedRunError, OtobotError, StepFailedError
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

_TRIES = 5  # of one stage: a host that somebody else keeps changing is left alone in the end


def ask(opener: Opener, questions: Sequence[Question], *, password: Password | None = None) -> Observation:
    """Answer `questions` in one execution. `password` gives sudo's, asked for only when sudo wants it.

    Raises:
        HostUnreachableError: no connection, no login, no way to become root.
    """
    with Session(opener, password) as session:
        return _observe(session, questions)


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
        found = _observe(session, list(itertools.chain.from_iterable(asked)))
    (listener or Quiet()).event({"event": "observed", "host": host, "holder": found.holder, "last": found.last})
    plans: list[StagePlan] = []
    for stage, answers in zip(stages, _split(found.answers, asked), strict=True):
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
        return _Convergence(session, stages, who, mask, listener or Quiet(), patience or Patience()).result()


class _Convergence:
    def __init__(
        self,
        session: Session,
        stages: Sequence[Stage],
        who: str,
        mask: Sequence[str],
        listener: Listener,
        patience: Patience,
    ) -> None:
        self.session = session
        self.host = session.door.name
        self.stages = tuple(stages)
        self.who = who
        self.mask = mask
        self.listener = listener
        self.patience = patience
        self.follower = following.Follower(session, patience, self.tell)
        self.changed: list[str] = []
        self.boot_ids: list[str] = []
        self.reattached = False

    def result(self) -> HostResult:
        answers = self.look(self.stages)
        for index, stage in enumerate(self.stages):
            # What a stage answered for the later ones when it was applied is as fresh as a new look.
            answers = self.settle(stage, self.stages[index:], answers)[1:]
        return HostResult(
            self.host, self.session.executions, tuple(self.changed), tuple(self.boot_ids), self.reattached
        )

    def settle(
        self, stage: Stage, remaining: Sequence[Stage], answers: Sequence[Sequence[Answer]]
    ) -> Sequence[Sequence[Answer]]:
        """Apply `stage` until nothing of it differs; return fresh answers of the remaining stages."""
        for _ in range(_TRIES):
            plan = planning.plan(self.host, stage, answers[0])
            self.tell({"event": "planned", "stage": stage.name, "steps": [step.step.name for step in plan.steps]})
            if not plan.steps:
                return answers
            asked = [questions_of(later) for later in remaining]
            story = self.apply(following.request(plan, list(itertools.chain.from_iterable(asked)), self.who, self.mask))
            if story is None:
                answers = self.look(remaining)
                continue
            self.changed += story.changed
            if story.end is None or not story.end["ok"]:
                raise following.failure(self.host, story)
            if story.end["reboot"]:
                answers = self.wait_for_boot(story.boot_id, remaining)
                continue
            answers = _split(story.answers, asked)
            planning.check_settled(self.host, plan, answers[0])
            return answers
        raise StepFailedError(
            f"{self.host}: {stage.name} still differs after {_TRIES} tries", hint=f"otobotctl host plan {self.host}"
        )

    def apply(self, job: Any) -> following.Story | None:
        """Run one stage's steps; None when nothing was applied and the host must be looked at again."""
        try:
            return self.follower.apply(job)
        except following.NeverStartedError:
            return None
        except RefusedError as error:
            if error.code != "locked":
                raise
            self.after(error.holder)
            return None
        except KeyboardInterrupt as error:
            raise InterruptedRunError(
                f"interrupted; {self.host} goes on with run {job['run']} by itself",
                hint="run the same command again to follow it",
            ) from error

    def look(self, stages: Sequence[Stage]) -> Sequence[Sequence[Answer]]:
        """Answers of `stages`, from a host that nobody else is changing."""
        asked = [questions_of(stage) for stage in stages]
        while True:
            found = _observe(self.session, list(itertools.chain.from_iterable(asked)))
            self.tell({"event": "observed", "holder": found.holder, "last": found.last})
            self.note_boot(found.boot_id)
            if found.holder is None:
                return _split(found.answers, asked)
            self.after(found.holder)

    def after(self, holder: Mapping[str, Any] | None) -> None:
        """Wait for the end of a run of our own; raise LockedError for anyone else's."""
        if holder is None or holder["who"] != self.who or not holder["run"]:
            raise locked(self.host, holder)
        self.tell({"event": "reattached", "run": holder["run"], "who": holder["who"]})
        self.reattached = True
        try:
            story = self.follower.again(holder["run"])
        except (following.NeverStartedError, StepFailedError):
            return  # how it ended, the host itself will show
        if story.end is not None and story.end["reboot"]:
            self.wait_for_boot(story.boot_id, ())

    def wait_for_boot(self, old: str, stages: Sequence[Stage]) -> Sequence[Sequence[Answer]]:
        """Wait until the host is back with another boot_id; return the answers of `stages`."""
        self.tell({"event": "rebooting"})
        asked = [questions_of(stage) for stage in stages]
        deadline = time.monotonic() + self.patience.reboot_s
        pauses = following.Pauses(self.patience)
        missed: OtobotError | None = None
        while time.monotonic() < deadline:
            pauses.sleep()
            self.session.drop()
            try:
                found = _observe(self.session, list(itertools.chain.from_iterable(asked)))
            except HostUnreachableError as error:
                missed = error
                continue
            if found.boot_id != old:
                self.note_boot(found.boot_id)
                self.tell({"event": "observed", "holder": found.holder, "last": found.last})
                return _split(found.answers, asked)
        raise HostUnreachableError(
            f"{self.host}: not back {self.patience.reboot_s:.0f} s after its reboot",
            hint="look at the host's own console, then run the same command again",
            details=(missed.message,) if missed else ("it answers, but has not rebooted",),
        )

    def note_boot(self, boot_id: str) -> None:
        if self.boot_ids[-1:] != [boot_id]:
            self.boot_ids.append(boot_id)

    def tell(self, record: Mapping[str, Any]) -> None:
        self.listener.event({**record, "host": self.host})


def _observe(session: Session, questions: Sequence[Question]) -> Observation:
    request: ObserveRequest = {"version": VERSION, "op": "observe", "questions": list(questions)}
    answers: list[Answer] = []
    for record in session.exchange(request):
        if "answer" in record:
            answers.append(answer_of(record))
        elif "end" in record:
            return Observation(tuple(answers), record["boot_id"], record["holder"], record["last"])
    raise AssertionError("an exchange ends with its end")  # pragma: no cover


def _split(answers: Sequence[Answer], asked: Sequence[Sequence[Question]]) -> list[list[Answer]]:
    """Group flat answers by stage."""
    flat = iter(answers)
    return [list(itertools.islice(flat, len(questions))) for questions in asked]
