"""A program run once: until its `creates` path is there, or its `unless` program ends with 0."""

from __future__ import annotations

import os
import pwd
from typing import Any, Dict, List, Optional

from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import ask


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer {"done": bool}. An `unless` that cannot be run yet (no program, user or directory) is not done."""
    creates = params.get("creates")
    if creates is not None:
        return {"done": os.path.lexists(creates)}
    try:
        env = _environment(params)
    except StepError:
        return {"done": False}
    argv = _as_user(params["unless"], params.get("user"))
    return {"done": ask(argv, env=env, cwd=params.get("cwd")).status == 0}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Run the program, unless an earlier step has made it needless; then look whether it did what it is for."""
    if probe(params)["done"]:
        return
    argv = _as_user(params["argv"], params.get("user"))
    try:
        run.command(argv, env=_environment(params), cwd=params.get("cwd"))
    except OSError as error:
        raise StepError("{}: {}".format(error.filename or argv[0], error.strerror)) from None
    if not probe(params)["done"]:
        what = params.get("creates") or " ".join(params["unless"])
        raise StepError("{} ended well, yet this still does not hold: {}".format(params["argv"][0], what))


def _as_user(argv: List[str], user: Optional[str]) -> List[str]:
    return list(argv) if user is None else ["runuser", "-u", user, "--", *argv]


def _environment(params: Dict[str, Any]) -> Dict[str, str]:
    # runuser keeps root's own HOME, and programs would write there.
    env = dict(params.get("env") or {})
    user = params.get("user")
    if user is not None:
        try:
            home = pwd.getpwnam(user).pw_dir
        except KeyError:
            raise StepError("there is no user {} on this host".format(user)) from None
        env = dict({"HOME": home, "USER": user, "LOGNAME": user}, **env)
    return env
