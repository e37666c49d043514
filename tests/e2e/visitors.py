"""Visitors of a client's site who come all the time, and what they were answered."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import Self

from tests.e2e.deployed import DOMAIN, visit
from tests.lab.host import Host


@dataclass
class Visitors:
    """Ask for a client's /health again and again, each on a connection of its own, until the block is left."""

    host: Host
    domain: str = DOMAIN
    count: int = 3
    pause_s: float = 0.4  # together they stay below the proxy's limit of requests
    answers: list[tuple[float, float, object]] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._come) for _ in range(self.count)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _come(self) -> None:
        while not self._stop.is_set():
            begun = time.monotonic()
            try:
                found: object = visit(self.host, "/health", self.domain)[0]
            except (OSError, IndexError, ValueError) as error:
                found = repr(error)
            self.answers.append((begun, time.monotonic() - begun, found))
            self._stop.wait(self.pause_s)

    def refused(self) -> list[tuple[float, float, object]]:
        """Those who were not answered well."""
        return [each for each in self.answers if each[2] != 200]

    def slowest_s(self) -> float:
        """How long the one who waited longest waited."""
        return max(each[1] for each in self.answers)
