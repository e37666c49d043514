"""One host on its way to what its stages say: looks, plans, applies, waits, and starts over where it must."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from otobotctl.agent.protocol import VERSION, ObserveRequest, Question
from otobotctl.converge import following, planning
from otobotctl.converge.exchange import RefusedError, Session, locked
from otobotctl.converge.model import Answer, HostResult, Listener, Observation, Patience, answer_of
from otobotctl.errors import HostUnreachableError, InterruptedRunError, OtobotError, StepFailedError
from otobotctl.plan.stage import questions as questions_of

if TYPE_CHECKING:
    from otobotctl.plan.model import Stage

_TRIES = 5  # of one stage: a host that somebody else keeps changing is left alone in the end


class Convergence:
    """What converge_host does, step by step; see there for its errors."""

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
        self.notes: list[str] = []
        self.reattached = False

    def result(self) -> HostResult:
        """Go through every stage."""
        answers = self.look(self.stages)
        for index, stage in enumerate(self.stages):
            # What a stage answered for the later ones when it was applied is as fresh as a new look.
            answers = self.settle(stage, self.stages[index:], answers)[1:]
        return HostResult(
            self.host,
            self.session.executions,
            tuple(self.changed),
            tuple(self.boot_ids),
            self.reattached,
            tuple(self.notes),
        )

    def settle(
        self, stage: Stage, remaining: Sequence[Stage], answers: Sequence[Sequence[Answer]]
    ) -> Sequence[Sequence[Answer]]:
        """Apply `stage` until nothing of it differs; return fresh answers of the remaining stages."""
        for _ in range(_TRIES):
            plan = planning.plan(self.host, stage, answers[0])
            self.tell({"event": "planned", "stage": stage.name, "steps": [step.step.name for step in plan.steps]})
            if not plan.steps:
                self.notes += plan.notes
                return answers
            planning.check_allowed(self.host, plan)
            if any(planned.step.spec.fresh_login() for planned in plan.steps):
                self.session.renew()
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
            answers = split(story.answers, asked)
            self.notes += planning.check_settled(self.host, plan, answers[0])
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
        except (KeyboardInterrupt, InterruptedRunError) as error:
            raise InterruptedRunError(
                f"interrupted; {self.host} goes on with run {job['run']} by itself",
                hint="run the same command again to follow it",
            ) from error

    def look(self, stages: Sequence[Stage]) -> Sequence[Sequence[Answer]]:
        """Answers of `stages`, from a host that nobody else is changing."""
        asked = [questions_of(stage) for stage in stages]
        while True:
            found = look(self.session, list(itertools.chain.from_iterable(asked)))
            self.tell({"event": "observed", "holder": found.holder, "last": found.last})
            self.note_boot(found.boot_id)
            if found.holder is None:
                return split(found.answers, asked)
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
                found = look(self.session, list(itertools.chain.from_iterable(asked)))
            except HostUnreachableError as error:
                missed = error
                continue
            if found.boot_id != old:
                self.note_boot(found.boot_id)
                self.tell({"event": "observed", "holder": found.holder, "last": found.last})
                return split(found.answers, asked)
        raise HostUnreachableError(
            f"{self.host}: not back {self.patience.reboot_s:.0f} s after its reboot",
            hint="look at the host's own console, then run the same command again",
            details=(missed.message,) if missed else ("it answers, but has not rebooted",),
        )

    def note_boot(self, boot_id: str) -> None:
        """Keep each boot that was met, once."""
        if self.boot_ids[-1:] != [boot_id]:
            self.boot_ids.append(boot_id)

    def tell(self, record: Mapping[str, Any]) -> None:
        """Pass an event on, with the host's name."""
        self.listener.event({**record, "host": self.host})


def look(session: Session, questions: Sequence[Question]) -> Observation:
    """Answer `questions` in one execution."""
    request: ObserveRequest = {"version": VERSION, "op": "observe", "questions": list(questions)}
    answers: list[Answer] = []
    for record in session.exchange(request):
        if "answer" in record:
            answers.append(answer_of(record))
        elif "end" in record:
            return Observation(tuple(answers), record["boot_id"], record["holder"], record["last"])
    raise AssertionError("an exchange ends with its end")


def split(answers: Sequence[Answer], asked: Sequence[Sequence[Question]]) -> list[list[Answer]]:
    """Group flat answers by stage."""
    flat = iter(answers)
    return [list(itertools.islice(flat, len(questions))) for questions in asked]
