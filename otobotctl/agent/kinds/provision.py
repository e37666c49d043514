"""What a service prepares once it is healthy, by a program of its own that runs in its container."""

from __future__ import annotations

import json
from typing import Any, Dict, List

from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.running import running
from otobotctl.agent.shell import ask

_LOOK_S = 60.0


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer running, items ({name: state}) and _trouble ("" or why the program could not look).

    Trouble is no error of the look: what else differs on the host shall be applied, and may end it.
    """
    container = _container(params)
    if not container:
        return {"running": False, "items": {}, "_trouble": ""}
    told = [{key: item[key] for key in ("name", "kind", "id", "digest")} for item in params["items"]]
    argv = ["docker", "exec", container, *params["program"], "check", json.dumps(told)]
    try:
        answer = ask(argv, timeout_s=_LOOK_S)
        if answer.status == 0:
            return {"running": True, "items": json.loads(answer.stdout)["items"], "_trouble": ""}
        trouble = (answer.stderr.strip().splitlines() or ["it ended with {}".format(answer.status)])[-1]
    except ProbeError as error:
        trouble = str(error)
    except (ValueError, KeyError):
        trouble = "it answered something else than JSON"
    return {"running": True, "items": {}, "_trouble": trouble}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Let the program make every item. Raises StepError with its last line."""
    container = _container(params)
    if not container:
        raise StepError("{} of {} does not run".format(params["service"], params["project"]))
    # The items go to stdin and never into an argument: they hold passwords.
    items: List[Dict[str, Any]] = params["items"]
    argv = ["docker", "exec", "--interactive", container, *params["program"], "apply"]
    run.command(argv, stdin=json.dumps(items).encode())


def _container(params: Dict[str, Any]) -> str:
    found = [each.container for each in running(params["project"]) if each.service == params["service"]]
    return found[0] if found else ""
