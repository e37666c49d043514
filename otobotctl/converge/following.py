"""One run on a host, from its request to its end, through lines that break on the way."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

from otobotctl.agent.protocol import STATE_DIR, TAKEN_BACK, VERSION, ApplyRequest, FollowRequest, Question, WireStep
from otobotctl.converge.exchange import RefusedError
from otobotctl.converge.model import Answer, answer_of
from otobotctl.errors import DriftError, HostUnreachableError, OtobotError, StepFailedError, TakenBackError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from otobotctl.converge.exchange import Session
    from otobotctl.converge.model import Patience
    from otobotctl.plan.model import StagePlan

_LAST_LINES = 20


class NeverStartedError(Exception):
    """The host knows nothing of the run: its request was lost with the line, and nothing was applied."""


@dataclass
class Story:
    """What a run's journal has told so far."""

    run: str
    records: int = 0
    step: str = ""
    changed: list[str] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    error: str = ""
    code: str = ""
    end: Mapping[str, Any] | None = None
    boot_id: str = ""
    output: deque[str] = field(default_factory=lambda: deque(maxlen=_LAST_LINES))

    def hear(self, record: Mapping[str, Any]) -> None:
        """Take one record in."""
        self.records += 1
        match record["event"]:
            case "run_start":
                self.boot_id = record["boot_id"]
            case "step_start":
                self.step = record["step"]
                self.output.clear()
            case "output":
                self.output.append(record["text"])
            case "step_end" if record["ok"]:
                self.changed.append(record["step"])
            case "step_end":
                self.error, self.code = record.get("error", ""), record.get("code", "")
            case "answer":
                self.answers.append(answer_of(record))
            case "run_end":
                self.end = record


def request(plan: StagePlan, questions: Sequence[Question], who: str, mask: Sequence[str]) -> ApplyRequest:
    """The request that applies `plan` and asks `questions` afterwards. It holds secrets: never log it."""
    steps: list[WireStep] = [
        {
            "name": planned.step.name,
            "kind": planned.step.spec.kind,
            "params": planned.step.spec.wire(),
            "question": planned.step.spec.question(),
            "seen": planned.seen,
        }
        for planned in plan.steps
    ]
    return {
        "version": VERSION,
        "op": "apply",
        "run": f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}",
        "who": who,
        "stage": plan.stage.name,
        "steps": steps,
        "questions": list(questions),
        "mask": list(mask),
    }


class Follower:
    """Follows a run to its end; a lost line is taken up again where it broke."""

    def __init__(self, session: Session, patience: Patience, tell: Callable[[Mapping[str, Any]], None]) -> None:
        self._session = session
        self._patience = patience
        self._tell = tell

    def apply(self, job: ApplyRequest) -> Story:
        """Start a run and follow it.

        Raises:
            NeverStartedError: the line broke before the host had the request.
            HostUnreachableError: the host stayed away; the run goes on there.
            RefusedError: among others "locked" and "died".
        """
        return self._follow(job, Story(job["run"]))

    def again(self, run: str) -> Story:
        """Follow a run that another process started, from its first record."""
        return self._follow(self._resume(Story(run)), Story(run))

    def _follow(self, wanted: Mapping[str, Any], story: Story) -> Story:
        heard = time.monotonic()
        pauses = Pauses(self._patience)
        while True:
            try:
                for record in self._session.exchange(wanted):
                    heard = time.monotonic()
                    pauses.restart()
                    if "event" in record:
                        story.hear(record)
                        self._tell(record)
            except HostUnreachableError as error:
                self._session.drop()
                if time.monotonic() - heard > self._patience.reconnect_s:
                    raise self._away(story, error) from error
                self._tell({"event": "lost", "message": error.message})
                wanted = self._resume(story)
                pauses.sleep()
            except RefusedError as error:
                self._refused(story, error)
            else:
                return story

    def _refused(self, story: Story, error: RefusedError) -> NoReturn:
        match error.code:
            case "unknown":
                raise NeverStartedError(error.message) from error
            case "died":
                raise self._died(story) from error
            case "journal":
                raise self._unwritten(story, error) from error
            case _:
                raise error

    def _resume(self, story: Story) -> FollowRequest:
        return {"version": VERSION, "op": "follow", "run": story.run, "offset": story.records}

    def _away(self, story: Story, error: OtobotError) -> HostUnreachableError:
        where = f" in {story.step}" if story.step else ""
        return HostUnreachableError(
            f"{error.message}; run {story.run} was under way{where}",
            hint="what runs on a host goes on without a line; run the same command again to follow it",
            details=error.details,
        )

    def _died(self, story: Story) -> StepFailedError:
        return StepFailedError(
            f"{self._session.door.name}: run {story.run} was ended from outside, in {story.step or 'its beginning'}",
            hint="killed, out of memory or a power cut; run the same command again: it takes up where the host is",
            details=tuple(story.output),
        )

    def _unwritten(self, story: Story, error: OtobotError) -> StepFailedError:
        return StepFailedError(
            f"{error.message}; the run ended {f'with {story.step}' if story.step else 'before its first step'}",
            hint=f"on the host: df -h {STATE_DIR}; make room there and run the same command again",
        )


class Pauses:
    """Pauses between tries, each twice as long as the one before."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        self._next_s = patience.pause_s

    def restart(self) -> None:
        """Begin with the short one again."""
        self._next_s = self._patience.pause_s

    def sleep(self) -> None:
        """Wait."""
        time.sleep(self._next_s)
        self._next_s = min(self._next_s * 2, self._patience.longest_pause_s)


def failure(host: str, story: Story) -> OtobotError:
    """The error of a run that ended badly."""
    end = story.end or {}
    step = end.get("failed") or story.step
    if end.get("drift"):
        return DriftError(
            f"{host}: {step}: {story.error}; nothing of it was touched",
            hint=f"look at the difference with `otobotctl host plan {host}`, then apply again",
        )
    kind = TakenBackError if story.code == TAKEN_BACK else StepFailedError
    return kind(
        f"{host}: {step} failed: {story.error}",
        hint=f"put it right and run the same command again: what is done already is not done twice on {host}",
        details=tuple(story.output),
    )
