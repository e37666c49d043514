"""One client's release: its files under a number, its containers healthy, or everything as it was before."""

from __future__ import annotations

import json
import os
import time
from typing import Any, Dict, List, Optional, Sequence

from otobotctl.agent import compose, containers, files, rolling
from otobotctl.agent.bringing import Project, bring_up
from otobotctl.agent.releases import RECORD, Releases, remove_tree
from otobotctl.agent.run import Run
from otobotctl.agent.shell import ask

TEXT_LIMIT_BYTES = 64 * 1024
_PULLS = 3  # at once; Docker itself takes as many layers of each at once


def probe(params: Dict[str, Any]) -> Dict[str, Any]:
    """Answer what is released and how its containers are.

    current (number or None), digest, images ({service: reference}), settled, files ({path: sha256, mode, and text where
    it may be shown and is not the `known` one}), exists (the client's directory), _trouble ({service: what is wrong}),
    _services ({service: state}), _took ({service: seconds until it was healthy, the last time}); and volumes, if
    asked for.
    """
    return _facts(params, compose.states(params["project"]))


def probe_all(many: Sequence[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """The facts of each, by one `docker ps`, which costs less than one `docker compose ps`. Raises ProbeError."""
    found = containers.by_project()
    return [_facts(params, compose.service_states(found.get(params["project"], ()))) for params in many]


def _facts(params: Dict[str, Any], found: Dict[str, str]) -> Dict[str, Any]:
    here = Releases(params["client"])
    number = here.current()
    record = {} if number is None else here.record(number)
    facts = {
        "current": number,
        "digest": record.get("digest"),
        "images": record.get("images") or {},
        "settled": here.settled(),
        "files": {} if number is None else _contents(here.path(number), record, params.get("known") or {}),
        "exists": os.path.lexists(here.home),
        "_services": found,
        "_took": here.took(),
        "_trouble": compose.wrong(found, record.get("services", ()), record.get("once", ())),
    }
    return dict(facts, volumes=_volumes(params["project"])) if params.get("volumes") else facts


def apply(params: Dict[str, Any], run: Run) -> None:
    """Bring the release up, or take the client down. Raises StepError; then the release before is up again."""
    if params["state"] == "absent":
        _take_down(params, run)
        return
    here = Releases(params["client"])
    here.remove_parts()
    number = _reusable(here, params)
    if number is None:
        number = _write(here, params, run)
    elif params["pull"]:
        _pull(compose.model(params["project"], here.path(number), run), run)
    bring_up(Project(here, params["project"], params["wait_s"]), number, run)
    for gone in here.prune(params["keep"]):
        run.say("removed release {}".format(gone))


def _reusable(here: Releases, params: Dict[str, Any]) -> Optional[int]:
    """The release that a killed or failed run left for just these files; others that never ran go."""
    known = here.current()
    for number in here.numbers():
        if number != known and not here.ran(number) and not _matches(here, number, params):
            here.remove(number)
    left = [number for number in here.numbers() if number == known or not here.ran(number)]
    return next((number for number in reversed(left) if _matches(here, number, params)), None)


def _matches(here: Releases, number: int, params: Dict[str, Any]) -> bool:
    record = here.record(number)
    if record.get("digest") != params["digest"]:
        return False
    found = _contents(here.path(number), record, {}, texts=False)
    return found == {item["path"]: {"sha256": _sha256(item), "mode": item["mode"]} for item in params["files"]}


def _write(here: Releases, params: Dict[str, Any], run: Run) -> int:
    """Write, check and pull a new release; nothing that runs knows of it yet. Returns its number."""
    part = here.begin()
    try:
        for item in params["files"]:
            path = os.path.join(part, item["path"])
            _make_folder(os.path.dirname(path), part)
            files.write(path, _data(item), int(item["mode"], 8))
        found = compose.model(params["project"], part, run)
        if params["pull"]:
            _pull(found, run)
        files.write(os.path.join(part, RECORD), _record(params, found, run), 0o600)
    except BaseException:
        remove_tree(part)
        raise
    number = here.publish(part)
    run.say("wrote release {} ({} files)".format(number, len(params["files"])))
    return number


def _make_folder(path: str, part: str) -> None:
    """Inside a 0700 release, 0755: a container's user reads what is mounted, nobody on the host gets there."""
    if path != part and not os.path.isdir(path):
        _make_folder(os.path.dirname(path), part)
        os.mkdir(path)
        os.chmod(path, 0o755)


def _record(params: Dict[str, Any], found: Dict[str, Any], run: Run) -> bytes:
    record = {
        "digest": params["digest"],
        "at": int(time.time()),
        "who": run.who,
        "project": params["project"],
        "wait_s": params["wait_s"],
        "smoke": params.get("smoke") or [],
        "stateless": compose.stateless(found),
        "services": compose.services(found),
        "once": compose.once(found),
        "images": compose.running_images(found),
        "secret": sorted(item["path"] for item in params["files"] if item.get("secret")),
        "secrets": params.get("secrets") or {},
    }
    return json.dumps(record, indent=1, sort_keys=True).encode() + b"\n"


def _pull(found: Dict[str, Any], run: Run) -> None:
    """Get the images that are missing before anything is switched: a registry that fails changes nothing."""
    missing = [image for image in compose.images(found) if ask(["docker", "image", "inspect", "--", image]).status]
    waiting = list(missing)
    failed: List[Exception] = []

    def pull() -> None:
        while waiting and not failed:
            try:
                run.command(["docker", "pull", "--quiet", "--", waiting.pop(0)])
            except IndexError:  # another was quicker
                return
            except Exception as error:  # noqa: BLE001 whatever it is, the caller's thread raises it
                failed.append(error)

    import threading

    # A registry is mostly waited for: one image after the other would leave the line idle.
    others = [threading.Thread(target=pull) for _ in missing[1:_PULLS]]
    for each in others:
        each.start()
    pull()
    for each in others:
        each.join()
    if failed:
        raise failed[0]


def _take_down(params: Dict[str, Any], run: Run) -> None:
    """Containers and networks, then volumes if asked for, then the files: each can be done again."""
    here, project = Releases(params["client"]), params["project"]
    rolling.sweep(project)  # one-off containers are none that Compose would take down
    if compose.states(project) or here.current() is not None:
        run.command(["docker", "compose", "--project-name", project, "down", "--remove-orphans"])
    for volume in _volumes(project) if params["remove_volumes"] else ():
        run.command(["docker", "volume", "rm", "--", volume])
    if os.path.lexists(here.home):
        remove_tree(here.home)
        files.sync_folder(os.path.dirname(here.home))


def _volumes(project: str) -> List[str]:
    return sorted(ask(["docker", "volume", "ls", "--quiet", "--filter", compose.of_project(project)]).stdout.split())


def _contents(folder: str, record: Dict[str, Any], known: Dict[str, str], texts: bool = True) -> Dict[str, Any]:
    """The files of a release as they are on disk now. Text only of files that its record knows to be no secret."""
    found: Dict[str, Any] = {}
    for place, _, names in os.walk(folder):
        for name in names:
            full = os.path.join(place, name)
            path = os.path.relpath(full, folder)
            state = files.describe(full)
            if path == RECORD or state["type"] != "file":
                continue
            found[path] = {"sha256": files.digest(full), "mode": state["mode"]}
            shown = texts and "secret" in record and path not in record["secret"]
            if shown and found[path]["sha256"] != known.get(path):
                found[path]["text"] = _text(full)
    return found


def _text(path: str) -> Optional[str]:
    try:
        data = files.read(path, TEXT_LIMIT_BYTES)
        return None if data is None else data.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return None


def _sha256(item: Dict[str, Any]) -> str:
    import hashlib

    return hashlib.sha256(_data(item)).hexdigest()


def _data(item: Dict[str, Any]) -> bytes:
    import base64

    return base64.b64decode(item["content_base64"])
