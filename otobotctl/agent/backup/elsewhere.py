"""A drill on a machine that is not the client's, as after a disaster: it has what the operator brings, and no more.

Password, credentials and the vault's key come over the line and stay in memory: what wants a file is given one that is
in this process's memory alone. What was fetched or written for the drill is gone afterwards; of one that was killed the
next drill on this machine removes it, whichever client that is for.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from typing import Any, Callable, Dict

from otobotctl.agent.backup import drill, signing, throwaway
from otobotctl.agent.backup.drilling import Drill
from otobotctl.agent.backup.fetching import Images
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.backup.restic import Restic
from otobotctl.agent.backup.shapes import HOME, Job, Target
from otobotctl.agent.lines import decode
from otobotctl.agent.memory import in_memory
from otobotctl.agent.run import StepError
from otobotctl.agent.shell import has
from otobotctl.agent.wire import RefusedError

Say = Callable[[Dict[str, Any]], None]
_FOLDER = "elsewhere"
_NEEDED = (("docker", "Docker"), ("restic", "restic"))


def serve(request: Dict[str, Any], places: BackupPlaces, tell: Say) -> None:
    """Drill here what the request brings, or note what was found elsewhere. Raises RefusedError."""
    if request["word"] == "drilled":
        _note(places, request["asked"]["signed"])
        tell({"noted": True})
        return
    for program, name in _NEEDED:
        if not has(program):
            raise RefusedError("lacks", "{} is missing here, and a drill needs it".format(name))
    tell({"done": _drill(request["asked"], places, request["who"], tell)})


def _drill(asked: Dict[str, Any], places: BackupPlaces, who: str, say: Say) -> Dict[str, Any]:
    """Drill; return target, signed, and error or None. `asked` has job, files, vault, built, name and keys.

    `files` are those that options of the target name below HOME/CLIENT. `keys` are the private keys to sign with, as a
    pattern; "": this host's own. Raises RefusedError: another drill of this client is under way here.
    """
    job: Job = asked["job"]
    (target,) = job["targets"]
    held = drill.alone(places, who)
    _clear_others(places)
    _clear(places)
    images = Images(os.path.join(_folder(places), "brought.json"), asked["built"], say)

    def run() -> Dict[str, Any]:
        os.makedirs(_folder(places), mode=0o700, exist_ok=True)
        cache = "" if not places.cache(target["repository"]) else os.path.join(_folder(places), "cache")
        with in_memory(asked["files"]) as paths:
            restic = Restic(_moved(target, job["client"], paths), "", cache)
            return Drill(job, restic, lambda: dict(asked["vault"]), say, images.ready).run()

    try:
        report, wrong = drill.proved(places.client, target["name"], run)
    finally:
        _clear(places)
        os.close(held)
    report.update(on=asked["name"], fetched=images.fetched)
    signed = signing.sign(report, asked["keys"]) if asked["keys"] else signing.sign(report)
    return {"target": target["name"], "signed": signed, "error": wrong}


def _note(places: BackupPlaces, signed: Dict[str, Any]) -> None:
    """Keep what the operator has found to be signed as it should be. Raises RefusedError."""
    report = decode(signed["report"].encode())
    named = drill.named(report)
    try:
        places.prepare()
        signing.keep(os.path.join(places.state, "reports"), named, signed)
        drill.note(places, report, named)
    except (OSError, StepError) as error:
        raise RefusedError("refused", "the drill cannot be noted in {}: {}".format(places.state, error)) from error


def _folder(places: BackupPlaces) -> str:
    return os.path.join(places.state, _FOLDER)


def _clear(places: BackupPlaces) -> None:
    """Remove everything that a drill was here with."""
    throwaway.clear(places.client)
    Images(os.path.join(_folder(places), "brought.json"), {}, lambda _: None).remove()
    shutil.rmtree(_folder(places), ignore_errors=True)
    with contextlib.suppress(OSError):
        os.rmdir(places.state)  # there is more in it on the client's own host


def _clear_others(places: BackupPlaces) -> None:
    """Remove what killed drills of other clients have left here."""
    top = os.path.dirname(places.state)
    for client in sorted(os.listdir(top)):
        other = BackupPlaces(client, HOME, top, places.runtime)
        if client == places.client or not os.path.isdir(_folder(other)):
            continue
        with contextlib.suppress(RefusedError):  # one that is under way
            held = drill.alone(other, "a drill of " + places.client)
            _clear(other)
            os.close(held)


def _moved(target: Target, client: str, paths: Dict[str, str]) -> Target:
    """The target, whose options name the files where they are here."""
    options = list(target["options"])
    for name, path in paths.items():
        options = [option.replace("{}/{}/{}".format(HOME, client, name), path) for option in options]
    moved = target.copy()
    moved["options"] = options
    return moved
