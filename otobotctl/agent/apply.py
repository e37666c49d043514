"""Starts a run: takes the lock, begins the journal, lets the worker go, and tells the caller what the journal says."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import Any, Dict

from otobotctl.agent import follow, journal, lock, worker
from otobotctl.agent.places import Places, boot_id
from otobotctl.agent.wire import RefusedError, Wire

_LAST_WORDS_S = 10.0


def apply(request: Dict[str, Any], places: Places, wire: Wire) -> None:
    """Serve an apply request up to its run_end.

    Raises:
        RefusedError: "locked"; "died" when the worker ended without a word.
        journal.JournalError: the journal could not be begun.
    """
    _prepare(places)
    holder = {"run": request["run"], "who": request["who"], "at": round(time.time(), 3), "pid": os.getpid()}
    held = lock.acquire(places.lock, holder)
    record = journal.create(places.runs, request["run"])
    names = [step["name"] for step in request["steps"]]
    about = {"run": request["run"], "who": request["who"], "stage": request["stage"], "steps": names}
    record.add("run_start", durable=True, boot_id=boot_id(), **about)
    ours, theirs = os.pipe()
    if not os.fork():
        os.close(ours)
        os.close(wire.descriptor)
        lock.write_holder(held, dict(holder, pid=os.getpid()))
        worker.become(request, record, theirs)
    for descriptor in (theirs, held, record.descriptor):
        os.close(descriptor)  # from here on the lock lives and dies with the worker
    _keep_agent(places, wire)
    bell = follow.Doorbell(ours)
    bell.wait()  # nothing is told before the worker stands on its own: who hears of a run may cut the line
    ended = follow.stream(journal.path_of(places.runs, request["run"]), 0, wire, bell.wait)
    bell.wait_for_end(_LAST_WORDS_S)
    if not ended:
        raise _last_words(bell.said)


def _prepare(places: Places) -> None:
    try:
        places.prepare()
    except OSError as error:
        raise journal.JournalError("{}: {}".format(places.state, error.strerror)) from error


def _last_words(said: bytes) -> RefusedError:
    """Why a worker ended without a run_end."""
    try:
        error = json.loads(said)["error"]
        return RefusedError(error["code"], error["message"])
    except (ValueError, KeyError):
        return RefusedError("died", "the run's process ended without finishing")


def _keep_agent(places: Places, wire: Wire) -> None:
    """Keep this agent if it came over the wire; in a process of its own, since nothing waits for it."""
    if os.path.isdir(places.kept) or os.fork():
        return
    try:
        worker.leave_session()
        os.close(wire.descriptor)
        from otobotctl.agent.keep import keep

        keep(sys.path[0], places.kept)
    finally:
        os._exit(0)
