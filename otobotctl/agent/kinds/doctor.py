"""All that the doctor asks of a host, in one question: how it is, and what its clients' services can really do."""

from __future__ import annotations

import os
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Callable, Dict, List, Optional

from otobotctl.agent import inspected, killed, listening, logins, shield
from otobotctl.agent.kinds import host_status
from otobotctl.agent.releases import Releases
from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import has

_AT_ONCE = 4
_WELL = ("healthy", "")


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer what host_status does, and more; no value of any secret is in it.

    `projects`, `names`: as host_status. `logins`: [{project, engine, server, role, database, holder, variable, user}],
    where the container of the service `holder` has the password in `variable`, and the role that it comes as in `user`.
    `queries`: [{project, database, sql}].
    `marks`: {service: {name: pattern}}, looked for in the log of such a container where it is not healthy.

    More: time, clock, addresses, listening, killed, shield; docker (is there) and docker_since (Unix seconds, or None);
    containers (inspected.told, and marks); logins and queries in the order asked; since: {client: when its oldest
    release was written, Unix seconds, or None}; backups: {client: backup/asked.standing}.
    """
    found = host_status.probe({"projects": params["projects"], "names": params["names"]})
    try:
        raw = inspected.raw()
    except ProbeError:
        raw = []  # docker_error says it already
    here = _by_service(raw)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        tried = pool.map(_safely(lambda each: _login(here, each)), params["logins"])
        asked = pool.map(_safely(lambda each: _query(here, each)), params["queries"])
        marked = pool.map(lambda each: _marks(each, params["marks"]), raw)
        answered = {"logins": list(tried), "queries": list(asked)}
        containers = [dict(inspected.told(each), marks=marks) for each, marks in zip(raw, marked)]
    return {
        **found,
        **answered,
        "containers": containers,
        "docker": has("docker"),
        "docker_since": _changed("/run/docker.pid"),
        "clock": listening.clock(),
        "killed": killed.kills(),
        "shield": shield.state(),
        "addresses": listening.addresses(),
        "listening": listening.sockets(),
        "since": {client: _since(client) for client in params["projects"]},
        "backups": {client: _backups(client) for client in params["projects"]},
        "time": time.time(),
    }


def apply(params: Dict[str, Any], run: Run) -> None:  # noqa: ARG001
    """Refuse: there is nothing to apply. Raises StepError."""
    raise StepError("doctor only looks")


def _by_service(raw: List[Dict[str, Any]]) -> Dict[Any, Dict[str, Any]]:
    """Containers by project and service; one that runs before one that does not."""
    found: Dict[Any, Dict[str, Any]] = {}
    for each in sorted(raw, key=lambda one: bool(one["State"].get("Running"))):
        labels = each["Config"].get("Labels") or {}
        if labels.get("com.docker.compose.oneoff") != "True":
            found[labels.get("com.docker.compose.project"), labels.get("com.docker.compose.service")] = each
    return found


def _login(here: Dict[Any, Dict[str, Any]], wanted: Dict[str, Any]) -> Dict[str, Any]:
    """{"ok": True, False or None (it could not be tried), "said": why}."""
    server = here.get((wanted["project"], wanted["server"]))
    holder = here.get((wanted["project"], wanted["holder"]))
    if server is None or not server["State"].get("Running"):
        return {"ok": None, "said": "{} does not run".format(wanted["server"])}
    if holder is None:
        return {"ok": None, "said": "{} is not there".format(wanted["holder"])}
    found = inspected.environment(holder)
    if not found.get(wanted["variable"]):
        return {"ok": None, "said": "{} has no {}".format(wanted["holder"], wanted["variable"])}
    role, password = logins.credentials(found[wanted["variable"]], found.get(wanted["user"]) or wanted["role"])
    done = logins.login(server["Id"], wanted["engine"], wanted["server"], role, wanted["database"], password)
    return {"ok": done.ok, "said": done.said}


def _query(here: Dict[Any, Dict[str, Any]], wanted: Dict[str, Any]) -> Dict[str, Any]:
    server = here.get((wanted["project"], "postgres"))
    if server is None or not server["State"].get("Running"):
        return {"error": "postgres does not run"}
    return logins.query(server["Id"], wanted["database"], wanted["sql"])


def _marks(container: Dict[str, Any], wanted: Dict[str, Any]) -> List[str]:
    labels, state = container["Config"].get("Labels") or {}, container["State"]
    words = wanted.get(labels.get("com.docker.compose.service", ""))
    if not words or (state.get("Status") == "running" and (state.get("Health") or {}).get("Status", "") in _WELL):
        return []
    try:
        return inspected.marks(container["Id"], state.get("StartedAt", ""), words)
    except ProbeError:
        return []


def _safely(work: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """One question's trouble is its own answer; the others go on."""

    def tried(each: Any) -> Any:
        try:
            return work(each)
        except ProbeError as error:
            return {"ok": None, "said": str(error), "error": str(error)}

    return tried


def _backups(client: str) -> Dict[str, Any]:
    from otobotctl.agent.backup.asked import standing
    from otobotctl.agent.backup.places import BackupPlaces

    return standing(BackupPlaces(client))


def _since(client: str) -> Optional[float]:
    here = Releases(client)
    numbers = here.numbers()
    return _changed(here.path(numbers[0])) if numbers else None


def _changed(path: str) -> Optional[float]:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return None
