"""The same work on many hosts at once, each in a thread of its own: ssh is a process, so threads are enough.

Only the calling thread tells the listener anything: what the others see comes to it through a queue.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from otobotctl.errors import InterruptedRunError, OtobotError, defect

if TYPE_CHECKING:
    from otobotctl.converge.model import Listener

T = TypeVar("T")


@dataclass(frozen=True)
class Limits:
    """How many hosts at once; how many go first and must succeed; after how many failures no other one starts."""

    parallel: int = 8
    canary: int = 0
    max_failures: int | None = None


@dataclass(frozen=True)
class Outcome(Generic[T]):
    """How one host ended: a result, an error, or neither: it was `left_out`, and that says why."""

    host: str
    result: T | None = None
    error: OtobotError | None = None
    left_out: str = ""
    took_s: float = 0.0


@dataclass
class _Posted(Generic[T]):
    """What a host's thread sends: an event, or its outcome, which is the last."""

    record: Mapping[str, Any] = field(default_factory=dict)
    outcome: Outcome[T] | None = None


class _Post(Generic[T]):
    """The listener of one host's thread."""

    def __init__(self, queue: SimpleQueue[_Posted[T]]) -> None:
        self._queue = queue

    def event(self, record: Mapping[str, Any]) -> None:
        self._queue.put(_Posted(record))


def each_host(
    hosts: Sequence[str], work: Callable[[str, Listener], T], limits: Limits, listener: Listener
) -> tuple[Outcome[T], ...]:
    """Do `work` on every host; return their outcomes in the same order.

    Besides what the work tells, the listener hears: hosts (hosts: all names), host_start, host_end (ok, took_s, error,
    code) and host_left_out (reason).

    Raises:
        InterruptedRunError: Ctrl-C; names the hosts that were under way, and those that were not started.
    """
    return _Crew(work, limits, listener).run(hosts)


class _Crew(Generic[T]):
    def __init__(self, work: Callable[[str, Listener], T], limits: Limits, listener: Listener) -> None:
        self._work = work
        self._limits = limits
        self._listener = listener
        self._queue: SimpleQueue[_Posted[T]] = SimpleQueue()
        self._hosts: tuple[str, ...] = ()
        self._running: set[str] = set()
        self._done: dict[str, Outcome[T]] = {}

    def run(self, hosts: Sequence[str]) -> tuple[Outcome[T], ...]:
        self._hosts = tuple(hosts)
        self._listener.event({"event": "hosts", "hosts": list(hosts)})
        first, others = hosts[: self._limits.canary], hosts[self._limits.canary :]
        try:
            self._wave(first)
            if failed := [name for name in first if name in self._done and self._done[name].error]:
                self._leave_out(others, f"canary {', '.join(failed)} failed")
            else:
                self._wave(others)
        except (KeyboardInterrupt, InterruptedRunError) as error:
            raise self._interrupted() from error
        return tuple(self._done[name] for name in hosts)

    def _wave(self, hosts: Sequence[str]) -> None:
        waiting = deque(hosts)
        while waiting or self._running:
            while waiting and len(self._running) < self._limits.parallel and not self._enough():
                self._start(waiting.popleft())
            if not self._running:
                break
            self._hear(self._queue.get())
        self._leave_out(waiting, f"{self._failures()} failed before")

    def _start(self, host: str) -> None:
        self._running.add(host)
        self._listener.event({"event": "host_start", "host": host})
        # A daemon: after Ctrl-C nobody waits for a host, which goes on by itself.
        threading.Thread(target=self._one, args=(host,), name=f"host {host}", daemon=True).start()

    def _one(self, host: str) -> None:
        started = time.monotonic()
        result, failed = None, None
        try:
            result = self._work(host, _Post(self._queue))
        except OtobotError as error:
            failed = error
        except BaseException as error:  # noqa: BLE001 one host's defect must not cost the others; nor may a panic of Rust
            failed = defect(error)
        took_s = round(time.monotonic() - started, 3)
        self._queue.put(_Posted(outcome=Outcome(host, result, failed, took_s=took_s)))

    def _hear(self, posted: _Posted[T]) -> None:
        outcome = posted.outcome
        if outcome is None:
            self._listener.event(posted.record)
            return
        self._running.discard(outcome.host)
        self._done[outcome.host] = outcome
        said: dict[str, Any] = {"event": "host_end", "host": outcome.host, "ok": outcome.error is None}
        if outcome.error is not None:
            said |= {"error": outcome.error.message, "code": outcome.error.exit_code}
        self._listener.event({**said, "took_s": outcome.took_s})

    def _leave_out(self, hosts: Sequence[str] | deque[str], reason: str) -> None:
        for host in hosts:
            self._done[host] = Outcome(host, left_out=reason)
            self._listener.event({"event": "host_left_out", "host": host, "reason": reason})

    def _failures(self) -> int:
        return sum(outcome.error is not None for outcome in self._done.values())

    def _enough(self) -> bool:
        return self._limits.max_failures is not None and self._failures() >= self._limits.max_failures

    def _interrupted(self) -> InterruptedRunError:
        under_way = f"; under way: {', '.join(sorted(self._running))}" if self._running else ""
        waiting = [name for name in self._hosts if name not in self._running and name not in self._done]
        return InterruptedRunError(
            f"interrupted{under_way}",
            details=[f"not started: {', '.join(waiting)}"] if waiting else [],
            hint="run the same command again: a host finishes what it had begun, and the rest is taken up from there",
        )
