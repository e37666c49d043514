"""A client's backups on this host: HOME/CLIENT, and the units that archive, verify and drill."""

from __future__ import annotations

import os
from typing import Any, Dict, List, Sequence

from otobotctl.agent import files, systemd
from otobotctl.agent.backup.shapes import HOME, STATE, unit
from otobotctl.agent.lines import decode
from otobotctl.agent.releases import Releases, remove_tree
from otobotctl.agent.run import Run
from otobotctl.agent.shell import ask

UNITS = "/etc/systemd/system"
_STARTED = "started"  # the release that the last run was started for by an apply
_PROPERTIES = ("ActiveState", "UnitFileState", "NeedDaemonReload")


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """What there is of a client's backups; of one that shall have none only `present`.

    files ({name: {sha256, attributes}}), units ({path: text}), _timers ({name: "enabled active"}), _stale, _release
    (the current one), _started (the one that a run was last started for) and _archived (there is an archive).
    """
    return probe_all([params])[0]


def probe_all(many: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The facts of each, by one systemctl; none is run where no client has backups."""
    asked = [name + end for each in many if each["state"] != "absent" for name in each["units"] for end in _ENDS]
    shown = dict(zip(asked, systemd.show_all(asked, _PROPERTIES))) if asked else {}
    return [_gone(each) if each["state"] == "absent" else _facts(each, shown) for each in many]


_ENDS = (".timer", ".service")


def _gone(params: Dict[str, Any]) -> Dict[str, Any]:
    return {"present": any(os.path.lexists(path) for path in _everything(params))}


def _everything(params: Dict[str, Any]) -> List[str]:
    return [os.path.join(HOME, params["client"]), os.path.join(STATE, params["client"]), *_unit_paths(params)]


def _unit_paths(params: Dict[str, Any]) -> List[str]:
    return [os.path.join(UNITS, name + end) for name in params["units"] for end in _ENDS]


def _facts(params: Dict[str, Any], shown: Dict[str, Dict[str, str]]) -> Dict[str, Any]:
    folder = os.path.join(HOME, params["client"])
    found = {name: _file(os.path.join(folder, name)) for name in params["files"]}
    mine = {name + end: shown[name + end] for name in params["units"] for end in _ENDS}
    texts = {path: files.text(path) for path in _unit_paths(params)}
    return {
        "files": {name: each for name, each in found.items() if each is not None},
        "units": {path: text for path, text in texts.items() if text is not None},
        "_timers": {
            name: "{} {}".format(each.get("UnitFileState") or "disabled", each.get("ActiveState", ""))
            for name, each in mine.items()
            if name.endswith(".timer") and texts[os.path.join(UNITS, name)] is not None
        },
        "_stale": any(each.get("NeedDaemonReload") == "yes" for each in mine.values()),
        "_release": Releases(params["client"]).current(),
        "_started": _started(params["client"]),
        "_archived": _archived(params["client"]),
    }


def _file(path: str) -> Any:
    facts = files.describe(path)
    if facts["type"] == "absent":
        return None
    if facts["type"] != "file":
        return {"sha256": "", "attributes": facts["type"]}
    attributes = "{} {}:{}".format(facts["mode"], facts["owner"], facts["group"])
    return {"sha256": files.digest(path), "attributes": attributes}


def _started(client: str) -> Any:
    text = files.text(os.path.join(STATE, client, _STARTED)) or ""
    return int(text) if text.strip().isdigit() else None


def _archived(client: str) -> List[Any]:
    """The release of each target's newest archive; empty before the first one."""
    try:
        targets = decode(files.read(os.path.join(STATE, client, "state.json")) or b"{}").get("targets") or {}
        return [each["archive"].get("release") for each in targets.values() if each.get("archive")]
    except (OSError, ValueError, AttributeError):
        return []


def apply(params: Dict[str, Any], run: Run) -> None:
    """Write what differs, the job last; switch the timers on; archive a release that has not been. Raises StepError."""
    if params["state"] == "absent":
        _remove(params, run)
        return
    client = params["client"]
    _folder(HOME)
    folder = _folder(os.path.join(HOME, client))
    _write_files(folder, params, run)
    _write_units(params, run)
    _folder(STATE)
    _archive(client, _folder(os.path.join(STATE, client)), params["by_itself"], run)


def _folder(path: str) -> str:
    os.makedirs(path, mode=0o700, exist_ok=True)
    os.chmod(path, 0o700)
    return path


def _write_files(folder: str, params: Dict[str, Any], run: Run) -> None:
    import base64

    wanted = {item["path"]: base64.b64decode(item["content_base64"]) for item in params["files"]}
    for name in sorted(params["managed"], key=lambda name: name == "job.json"):
        path = os.path.join(folder, name)
        if name not in wanted:
            if os.path.lexists(path):
                files.remove(path)
                run.say("removed {}".format(path))
        elif _file(path) is None or files.read(path) != wanted[name] or _loose(path):
            files.write(path, wanted[name], 0o600)
            run.say("wrote {}".format(path))


def _loose(path: str) -> bool:
    return bool(_file(path)["attributes"] != "0600 root:root")


def _write_units(params: Dict[str, Any], run: Run) -> None:
    moved = False
    for path in _unit_paths(params):
        text = params["texts"].get(path)
        if text is None and os.path.lexists(path):
            ask(["systemctl", "disable", "--now", "--", os.path.basename(path)])
            files.remove(path)
            run.say("removed {}".format(path))
        elif text is not None and files.text(path) != text:
            files.write(path, text.encode(), 0o644)
            run.say("wrote {}".format(path))
            moved = True
    run.command(["systemctl", "daemon-reload"])
    if params["timers"]:
        run.command(["systemctl", "enable", "--", *params["timers"]])
    for name in params["timers"]:
        systemd.run_or_explain(run, name, "restart" if moved else "start")  # a time that changed counts from now on


def _archive(client: str, folder: str, by_itself: bool, run: Run) -> None:
    """Start a run for a release that has come up since the last one; one that is under way goes on."""
    number, archived = Releases(client).current(), _archived(client)
    # Before the first archive of all, repositories may still have to be made and storages to let the host in.
    if number is None or not by_itself or not archived or number in archived or number == _started(client):
        return
    run.command(["systemctl", "start", "--no-block", "--", unit(client) + ".service"])
    files.write(os.path.join(folder, _STARTED), "{}\n".format(number).encode(), 0o600)


def _remove(params: Dict[str, Any], run: Run) -> None:
    """The timers first, then what runs, then the files."""
    for end in _ENDS:
        for name in params["units"]:
            ask(["systemctl", "disable", "--now", "--", name + end])
    for path in _unit_paths(params):
        files.remove(path)
    run.command(["systemctl", "daemon-reload"])
    for name in params["units"]:
        ask(["systemctl", "reset-failed", "--", name + ".service"])
    for folder in (HOME, STATE):
        if os.path.isdir(os.path.join(folder, params["client"])):
            remove_tree(os.path.join(folder, params["client"]))
    run.say("removed the backups of {}".format(params["client"]))
