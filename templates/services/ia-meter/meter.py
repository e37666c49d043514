"""Passes what the gate has let in on to the engine, byte for byte, and counts it: one line of JSON a request.

A line has who asked, for which model, tokens in and out as the engine tells them, times and how it ended. Nothing of
a question, an answer or a header is kept or written. Standard library only.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

from passing import Call

LEAVE_S = 50.0  # what is being answered may end, when this is to stop
ROLL = 20 * 1024 * 1024
ROLLS = 50


class Book:
    """The lines, in files of bounded size and number."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0

    def write(self, entry: dict[str, Any]) -> None:
        """Add a line. One that cannot be written is counted as lost; no request fails for it."""
        line = json.dumps(entry, separators=(",", ":")).encode() + b"\n"
        try:
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(file, line)
                full = os.fstat(file).st_size >= ROLL
            finally:
                os.close(file)
            if full:
                self._roll()
        except OSError as error:
            self.lost += 1
            print(f"{self.path}: {error.strerror}; {self.lost} lost", file=sys.stderr, flush=True)

    def _roll(self) -> None:
        self.path.rename(self.path.with_name(f"{self.path.stem}-{time.time_ns()}.log"))
        for old in sorted(self.path.parent.glob(f"{self.path.stem}-*.log"))[:-ROLLS]:
            old.unlink()


class Meter:
    """What is being answered, and how much of it waits."""

    def __init__(self, engine: tuple[str, int], book: Book) -> None:
        self.engine = engine
        self.book = book
        self.calls: set[Call] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.idle = asyncio.Event()

    def begun(self, call: Call) -> None:
        """A request has come."""
        self.calls.add(call)
        self.idle.clear()

    def ended(self, call: Call) -> None:
        """It is over."""
        self.calls.discard(call)
        if not self.calls:
            self.idle.set()

    def spawn(self, work: Any) -> None:
        """Run this beside; the loop alone would forget it."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def now(self) -> dict[str, Any]:
        """Requests in flight by caller and model, how many of them have begun to be answered, and lines lost."""
        counted = [call for call in self.calls if call.counts]
        flying = Counter((call.caller, call.asked.model) for call in counted)
        begun = Counter((call.caller, call.asked.model) for call in counted if call.engine and call.engine.first)
        rows = [{"caller": c, "model": m, "requests": n, "begun": begun[c, m]} for (c, m), n in sorted(flying.items())]
        return {"in_flight": rows, "lost": self.book.lost}

    async def tell(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer whoever asks on the socket, which root alone reaches from outside."""
        with suppress(OSError):
            writer.write(json.dumps(self.now()).encode() + b"\n")
            await writer.drain()
        writer.close()


async def main(folder: Path, host: str, port: int, engine: tuple[str, int]) -> None:
    """Pass on until SIGTERM, and then what is under way."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))  # two for each request
    loop = asyncio.get_running_loop()
    meter = Meter(engine, Book(folder / "usage.log"))
    door = folder / "now.sock"
    door.unlink(missing_ok=True)
    telling = await asyncio.start_unix_server(meter.tell, door)
    server = await loop.create_server(lambda: Call(meter), host, port, backlog=4096)
    ended = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(each, ended.set)
    print(f"listening on {port}", flush=True)
    await ended.wait()
    server.close()
    if meter.calls:
        with suppress(TimeoutError):
            await asyncio.wait_for(meter.idle.wait(), LEAVE_S)
    for call in tuple(meter.calls):
        call.finish(call.engine, "cut")
    telling.close()


if __name__ == "__main__":
    there = os.environ.get("METER_LISTEN", "0.0.0.0")  # noqa: S104 - of a container that publishes nothing
    name, _, number = os.environ["METER_ENGINE"].rpartition(":")
    place = Path(os.environ.get("METER_LOGS", "/var/log/ia"))
    asyncio.run(main(place, there, int(os.environ.get("METER_PORT", "8080")), (name, int(number))))
