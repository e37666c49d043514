"""The process that applies: on its own from birth, it outlives the SSH session and speaks through the journal alone."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
import traceback
from typing import Any, Dict, List, NamedTuple, NoReturn, Optional

from otobotctl.agent import observe, scope
from otobotctl.agent.journal import Journal, JournalError
from otobotctl.agent.mask import Mask
from otobotctl.agent.protocol import encode, facts_digest
from otobotctl.agent.run import ProbeError, Run, StepError

_LINE_LIMIT = 4000
_GOING_DOWN_S = 120  # how long a host that was told to reboot stays locked if it does not


class Outcome(NamedTuple):
    """How the steps ended."""

    failed: Optional[str] = None
    drift: bool = False
    reboot: bool = False


def become(job: Dict[str, Any], journal: Journal, doorbell: int) -> NoReturn:
    """Turn this freshly forked process into the worker of `job`; `doorbell` tells the parent of news."""
    try:
        leave_session()
        os.set_blocking(doorbell, False)
        scope.enter("otobot-" + job["run"])
        _ring(doorbell, b"\n")
        _Worker(job, journal, doorbell).work()
    except JournalError as error:
        _ring(doorbell, encode({"error": {"code": "journal", "message": str(error)}}))
    finally:
        os._exit(0)


def leave_session() -> None:
    """Let go of the SSH session: its terminal, its pipes and its signals."""
    os.setsid()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGHUP, lambda *_: None)  # not ignored: that would be passed on to every command
    nowhere = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(nowhere, descriptor)


def _ring(doorbell: int, data: bytes) -> None:
    # Nobody listens any more, or has so much to read that one more ring makes no difference.
    with contextlib.suppress(OSError):
        os.write(doorbell, data)


class _Worker:
    def __init__(self, job: Dict[str, Any], journal: Journal, doorbell: int) -> None:
        self.job = job
        self.journal = journal
        self.doorbell = doorbell
        self.mask = Mask(job["mask"])
        self.broken: Optional[JournalError] = None
        self.code = ""  # of the step's failure

    def work(self) -> None:
        outcome = self.steps(self.job["steps"])
        if not outcome.failed and not outcome.reboot:
            for answer in observe.answers(self.job["questions"]):
                self.tell("answer", **answer)
        self.tell("run_end", durable=True, ok=not outcome.failed, **outcome._asdict())
        if outcome.reboot:
            os.close(self.doorbell)
            _reboot()

    def tell(self, event: str, durable: bool = False, **record: Any) -> None:
        self.journal.add(event, durable, **record)
        _ring(self.doorbell, b"\n")

    def steps(self, steps: List[Dict[str, Any]]) -> Outcome:
        """Run every step up to the first that fails."""
        found: List[Dict[str, Any]] = []
        for step in steps:  # before the first: later on, an earlier step of the same run may have moved a fact
            facts = _look(step)
            if step["seen"] and facts_digest(facts) != step["seen"]:
                self.tell("step_start", step=step["name"])
                return self.drifted(step, time.monotonic())
            found.append(facts)
        for step, facts in zip(steps, found):
            outcome = self.step(step, facts)
            if outcome.failed or outcome.reboot:
                return outcome
        return Outcome()

    def step(self, step: Dict[str, Any], facts: Dict[str, Any]) -> Outcome:
        begun = time.monotonic()
        self.tell("step_start", step=step["name"])
        if _rewritten(step, facts):
            return self.drifted(step, begun)
        run = Run(lambda text: self.say(step["name"], text), self.job["who"])
        self.code = ""
        error = self.attempt(step, run)
        if self.broken:
            raise self.broken
        self.end(step, begun, error)
        return Outcome(failed=step["name"] if error is not None else None, reboot=run.reboot_asked)

    def attempt(self, step: Dict[str, Any], run: Run) -> Optional[str]:
        """Apply, and return what went wrong."""
        try:
            observe.kind_module(step["kind"]).apply(step["params"], run)
        except (StepError, ProbeError) as error:
            self.code = getattr(error, "code", "")
            return str(error)
        except Exception as error:  # noqa: BLE001 a kind's mistake ends the run like any failing step
            for line in traceback.format_exc().splitlines():
                run.say(line)
            return "{}: {}".format(type(error).__name__, error)
        return None

    def say(self, step: str, text: str) -> None:
        if self.broken:
            return
        try:
            for line in text.split("\n"):
                self.tell("output", step=step, text=self.mask(line)[:_LINE_LIMIT])
        except JournalError as error:  # the step goes on to its own end: a package manager is not torn down half way
            self.broken = error

    def drifted(self, step: Dict[str, Any], begun: float) -> Outcome:
        self.end(step, begun, "it was changed by someone else since it was planned", drift=True)
        return Outcome(failed=step["name"], drift=True)

    def end(self, step: Dict[str, Any], begun: float, error: Optional[str] = None, drift: bool = False) -> None:
        record: Dict[str, Any] = {"step": step["name"], "ok": error is None, "changed": error is None, "drift": drift}
        if error is not None:
            record["error"] = self.mask(error)[:_LINE_LIMIT]
            if self.code:
                record["code"] = self.code
        self.tell("step_end", took_s=round(time.monotonic() - begun, 3), **record)


def _look(step: Dict[str, Any]) -> Dict[str, Any]:
    """The step's facts now; {} when the kind cannot look, which matches no digest."""
    return dict(observe.answer(0, {"kind": step["kind"], "params": step["question"]}).get("facts", {}))


def _rewritten(step: Dict[str, Any], facts: Dict[str, Any]) -> bool:
    """Whether a file that was there when the run began has other content now: no other step writes it, a hand did."""
    return bool(step["seen"]) and "sha256" in facts and _look(step).get("sha256") != facts["sha256"]


def _reboot() -> None:
    """Send the host down and keep its lock until it goes."""
    for argv in (("systemctl", "reboot"), ("reboot",)):
        try:
            if subprocess.call(argv) == 0:
                break
        except OSError:
            continue
    time.sleep(_GOING_DOWN_S)
