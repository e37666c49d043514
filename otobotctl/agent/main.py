"""Serves one request: observe, apply, follow, archive, inside, exec, ledger, logs or backup."""

from __future__ import annotations

import _signal as signal  # type: ignore[import-not-found]  # see shell
import os
from typing import Any, Callable, Dict, NoReturn

from otobotctl.agent import lock, observe
from otobotctl.agent.lines import decode
from otobotctl.agent.places import Places
from otobotctl.agent.protocol import VERSION
from otobotctl.agent.run import PATH
from otobotctl.agent.wire import RefusedError, Wire


def _anything(_request: Dict[str, Any]) -> None:
    """Whoever came in as root may ask for everything."""


def main(
    line: bytes, kept: str, state: str, runtime: str, allowed: Callable[[Dict[str, Any]], None] = _anything
) -> NoReturn:
    """Answer the request in `line` on stdout, and end the process. `allowed` raises RefusedError for others."""
    wire = Wire(os.dup(1), os.dup(0))
    os.dup2(2, 1)  # what a kind or its commands print cannot break a record
    signal.signal(signal.SIGALRM, wire.beat)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    _stand_alone()
    status = 0
    try:
        _answer(line, Places(kept, state, runtime), wire, allowed)
    except BrokenPipeError:  # the line is cut; a worker goes on without us
        status = 1
    finally:
        os._exit(status)


def _stand_alone() -> None:
    """Depend on nothing that the login happened to bring along."""
    os.umask(0o022)
    os.chdir("/")
    os.environ["PATH"] = PATH
    if not os.geteuid():
        os.environ["HOME"] = "/root"


def _answer(line: bytes, places: Places, wire: Wire, allowed: Callable[[Dict[str, Any]], None]) -> None:
    try:
        request = decode(line)
        allowed(request)
        before = lock.holder(places.lock) if request["op"] == "observe" else None
        _serve(request, places, wire)
        wire.send(observe.ending(places, before))
    except BrokenPipeError:
        raise
    except RefusedError as error:
        wire.send({"error": {"code": error.code, "message": str(error), "holder": error.holder}})
    except Exception as error:  # noqa: BLE001 the operator reads it, not a traceback on a stderr nobody kept
        code = "journal" if type(error).__name__ == "JournalError" else "internal"
        message = str(error) if code == "journal" else "{}: {}".format(type(error).__name__, error)
        wire.send({"error": {"code": code, "message": message, "holder": None}})


def _serve(request: Dict[str, Any], places: Places, wire: Wire) -> None:
    if request["version"] != VERSION:
        raise RefusedError("refused", "protocol version {} is not spoken here".format(request["version"]))
    if request["op"] == "observe":
        for answer in observe.answers(request["questions"]):
            wire.send(answer)
    elif request["op"] == "apply":
        from otobotctl.agent.apply import apply

        _note(request, places, "stage", "run")
        apply(request, places, wire)
    elif request["op"] == "follow":
        from otobotctl.agent.follow import again

        again(places, request["run"], request["offset"], wire)
    elif request["op"] == "archive":
        from otobotctl.agent.archive import archive

        _note(request, places, "client", "run")
        archive(request, places, wire)
    elif request["op"] == "inside":
        from otobotctl.agent.inside import inside

        _note(request, places, "project", "service", "argv")
        inside(request, wire)
    else:
        _serve_asking(request, places, wire)


def _serve_asking(request: Dict[str, Any], places: Places, wire: Wire) -> None:
    """The operations behind `exec`, `ssh`, `audit` and `logs`."""
    if request["op"] == "exec":
        from otobotctl.agent.execute import execute

        execute(request, places, wire)
    elif request["op"] == "ledger":
        from otobotctl.agent.ledger import serve

        serve(request, places, wire)
    elif request["op"] == "proof":
        from otobotctl.agent.backup.serving import serve as serve_proof

        _note(request, places, "client", "word")
        serve_proof(request, places, wire)
    elif request["op"] == "logs":
        from otobotctl.agent.loglines import loglines

        _note(request, places, "client", "services")
        loglines(request, wire)
    elif request["op"] == "backup":
        from otobotctl.agent.backup.asked import serve as serve_backup

        if request["do"] == "run":
            _note(request, places, "clients", "reason", "run")
        serve_backup(request, places, wire)
    else:
        raise RefusedError("refused", "no such operation: {!r}".format(request["op"]))


def _note(request: Dict[str, Any], places: Places, *names: str) -> None:
    """Tell the host's audit what is about to be done."""
    from otobotctl.agent import ledger

    ledger.note(places, request["op"], **{name: request[name] for name in ("who", *names) if name in request})
