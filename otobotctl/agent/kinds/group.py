"""One group of the host."""

from __future__ import annotations

import grp
from typing import Any, Dict

from otobotctl.agent.run import Run


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Facts: exists, gid."""
    try:
        return {"exists": True, "gid": grp.getgrnam(params["name"]).gr_gid}
    except KeyError:
        return {"exists": False}


def apply(params: Dict[str, Any], run: Run) -> None:
    """Add the group, give it its number, or delete it."""
    name, found = params["name"], probe(params)
    number = [] if params.get("gid") is None else ["--gid", str(params["gid"])]
    if params.get("state") == "absent":
        if found["exists"]:
            run.command(["/usr/sbin/groupdel", name])
    elif not found["exists"]:
        system = ["--system"] if params.get("system") else []
        run.command(["/usr/sbin/groupadd", *system, *number, name])
    elif number and found["gid"] != params["gid"]:
        run.command(["/usr/sbin/groupmod", *number, name])
