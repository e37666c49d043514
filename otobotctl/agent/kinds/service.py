"""One systemd unit. What its watched files were when a step last (re)started it is kept in a stamp on the host."""

from __future__ import annotations

import os
from typing import Any, Dict, Iterator, List, Sequence

from otobotctl.agent import files, protocol, systemd
from otobotctl.agent.run import Run, StepError

STAMPS = protocol.STATE_DIR + "/stamps"
RUNNING = ("active", "reloading", "refreshing")
STOPPED = ("inactive", "failed")
AT_BOOT = ("enabled", "static", "indirect", "generated", "alias")
_PROPERTIES = ("LoadState", "ActiveState", "UnitFileState", "NeedDaemonReload")


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer load, _active, enabled in systemd's words, `watched` (digest now), `stamp` (digest at the last start)."""
    return _facts(params, systemd.show(params["name"], _PROPERTIES))


def probe_all(many: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The facts of each, by one systemctl."""
    shown = systemd.show_all([params["name"] for params in many], _PROPERTIES)
    return [_facts(params, each) for params, each in zip(many, shown)]


def _facts(params: Dict[str, Any], shown: Dict[str, str]) -> Dict[str, Any]:
    return {
        "load": shown.get("LoadState", ""),
        "_active": shown.get("ActiveState", ""),
        "enabled": shown.get("UnitFileState", ""),
        "watched": watched_digest(params["watches"]) if params["watches"] else "",
        "stamp": _stamp(params["name"]),
    }


def apply(params: Dict[str, Any], run: Run) -> None:
    """Enable, start, restart, reload or stop: only what differs. Raises StepError, the unit's journal said before."""
    name, wanted = params["name"], params["state"]
    shown = _loaded(name, run)
    if shown["LoadState"] == "not-found" and wanted == "stopped" and not params["enabled"]:
        return
    _refuse(name, shown["LoadState"], wanted)
    _enable(name, params["enabled"], shown["UnitFileState"], run)
    if wanted == "stopped":
        if shown["ActiveState"] not in STOPPED:
            systemd.run_or_explain(run, name, "stop")
        return
    # Taken before the start: a file that changes during it is seen as a difference next time.
    watched = watched_digest(params["watches"]) if params["watches"] else ""
    verb = _verb(shown["ActiveState"], watched != _stamp(name) and bool(watched), params["reload"])
    if verb:
        if shown["ActiveState"] == "failed":
            run.command(["systemctl", "reset-failed", "--", name])  # a start limit that was hit would refuse
        systemd.run_or_explain(run, name, verb)
        systemd.settle(run, name)
    if watched:
        _write_stamp(name, watched)


def watched_digest(paths: List[str]) -> str:
    """One digest over the contents of files and of whole directories; a path that is absent counts as such."""
    from otobotctl.agent.sums import sha256

    total = sha256()
    for path in sorted(paths):
        for name in _walk(path):
            state = files.digest(name) if os.path.isfile(name) and not os.path.islink(name) else _other(name)
            total.update("{}\0{}\0".format(name, state).encode("utf-8", "surrogateescape"))
    return str(total.hexdigest())


def _walk(path: str) -> Iterator[str]:
    if os.path.islink(path) or not os.path.isdir(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders.sort()
        for name in sorted(names):
            yield os.path.join(folder, name)


def _other(path: str) -> str:
    if not os.path.islink(path):
        return "absent" if not os.path.lexists(path) else "other"
    target = os.path.realpath(path)
    return "link " + (files.digest(target) if os.path.isfile(target) else os.readlink(path))


def _loaded(name: str, run: Run) -> Dict[str, str]:
    """Properties of the unit as its files are now: systemd reads them again only where they changed."""
    shown = systemd.show(name, _PROPERTIES)
    if shown.get("NeedDaemonReload") == "yes" or shown.get("LoadState") == "not-found":
        run.command(["systemctl", "daemon-reload"])
        shown = systemd.show(name, _PROPERTIES)
    return {key: shown.get(key, "") for key in _PROPERTIES}


def _refuse(name: str, load: str, wanted: str) -> None:
    if load == "not-found":
        raise StepError("there is no unit {} on this host; is its package installed before this step?".format(name))
    if load == "masked" and wanted == "started":
        raise StepError("{} is masked; systemctl unmask {} allows it to start".format(name, name))
    if load not in ("loaded", "masked"):
        raise StepError("systemd could not load {} ({}); systemctl status {} says why".format(name, load, name))


def _enable(name: str, wanted: Any, found: str, run: Run) -> None:
    if wanted is True and found not in AT_BOOT:
        run.command(["systemctl", "enable", "--", name])
    elif wanted is False and found in ("enabled", "enabled-runtime"):
        run.command(["systemctl", "disable", "--", name])


def _verb(active: str, changed: bool, reload: bool) -> str:
    if active not in RUNNING:
        return "restart" if active in ("activating", "deactivating") else "start"
    if not changed:
        return ""
    return "reload" if reload else "restart"


def _stamp_path(name: str) -> str:
    return os.path.join(STAMPS, "service-" + name.replace("/", "-"))


def _stamp(name: str) -> str:
    try:
        return (files.read(_stamp_path(name)) or b"").decode("ascii", "replace").strip()
    except OSError:
        return ""


def _write_stamp(name: str, digest: str) -> None:
    os.makedirs(STAMPS, mode=0o700, exist_ok=True)
    files.write(_stamp_path(name), digest.encode() + b"\n", 0o600)
