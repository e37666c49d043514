"""Runs one command for an operator, on the host or in a service's container, if the account's role may.

Both the command and a refusal are noted in the host's audit, before anything is run.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
from typing import Any, Dict, List

from otobotctl.agent import caller, ledger, policy
from otobotctl.agent.places import Places
from otobotctl.agent.run import PATH
from otobotctl.agent.running import running
from otobotctl.agent.wire import RefusedError, Wire

_BLOCK = 1 << 16
_NO_COMMAND = 127


def execute(request: Dict[str, Any], places: Places, wire: Wire) -> None:
    """Send stdout and stderr in blocks as they come, then {"exit": status}.

    Raises:
        RefusedError: "policy" when the role may not; "refused" when the service has no running container.
        JournalError: the audit cannot be written, so nothing was run.
    """
    argv = [str(word) for word in request["argv"]]
    place = policy.INSIDE if request["service"] else policy.HOST
    verdict = _judged(place, argv)
    row = {"who": request["who"], "role": verdict.role, "argv": policy.shown(argv)}
    row.update({name: request[name] for name in ("client", "service") if request[name]})
    if verdict.why:
        ledger.note(places, "refused", why=verdict.why, **row)
        raise RefusedError("policy", verdict.why)
    command = _inside(request, argv) if request["service"] else argv
    ledger.note(places, "exec", **row)
    status = _run(command, wire)
    ledger.note(places, "exec_end", status=status, **row)
    wire.send({"exit": status})


def _judged(place: str, argv: List[str]) -> policy.Verdict:
    # What a path inside a container leads to is not known here: there, only the path itself is judged.
    real = os.path.realpath if place == policy.HOST else os.path.normpath
    return policy.judge(policy.read(), caller.account(), place, argv, real)


def _inside(request: Dict[str, Any], argv: List[str]) -> List[str]:
    found = [each for each in running(request["project"]) if each.service == request["service"]]
    if not found:
        raise RefusedError("refused", "{} of {} does not run here".format(request["service"], request["client"]))
    return ["docker", "exec", found[0].container, *argv]


def _run(argv: List[str], wire: Wire) -> int:
    """Run to the end and return the exit status; when nobody listens any more the command ends too."""
    variables = {"PATH": PATH, "LC_ALL": "C.UTF-8", "HOME": "/root"}
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=variables,
            start_new_session=True,
        )
    except OSError as error:
        wire.send({"said": "{}: {}".format(argv[0], error.strerror)})
        return _NO_COMMAND
    with process:  # closes its pipes and waits for it
        try:
            _pump(process, wire)
        except BrokenPipeError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
            raise
    return process.returncode


def _pump(process: "subprocess.Popen[bytes]", wire: Wire) -> None:
    assert process.stdout is not None
    assert process.stderr is not None
    names = {process.stdout.fileno(): 1, process.stderr.fileno(): 2}
    poll = select.poll()
    for descriptor in names:
        poll.register(descriptor, select.POLLIN)
    while names:
        for descriptor, _ in poll.poll():
            data = os.read(descriptor, _BLOCK)
            if data:
                wire.block(data, names[descriptor])
            else:
                poll.unregister(descriptor)
                del names[descriptor]
