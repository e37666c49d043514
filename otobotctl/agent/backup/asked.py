"""What an operator asks of a host's backups over the line: a run, the archives of a client, how all of it stands."""

from __future__ import annotations

import contextlib
import time
from typing import Any, Dict

from otobotctl.agent import lock
from otobotctl.agent.archive import stand_apart
from otobotctl.agent.backup import pruning, scheduled, sizes, state
from otobotctl.agent.backup.clock import Clock, TerminatedError
from otobotctl.agent.backup.making import Wanted
from otobotctl.agent.backup.pitr import here as log
from otobotctl.agent.backup.pitr import moments
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job
from otobotctl.agent.backup.remedies import failure
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.runner import Asked, Run
from otobotctl.agent.backup.shapes import unit
from otobotctl.agent.places import Places
from otobotctl.agent.run import ProbeError, StepError
from otobotctl.agent.wire import RefusedError, Wire

_LIST_S = 300.0


def serve(request: Dict[str, Any], places: Places, wire: Wire) -> None:
    """Serve a BackupRequest. Raises RefusedError."""
    try:
        if request["do"] == "run":
            _run(request, places, wire)
        elif request["do"] == "list":
            for client in request["clients"]:
                _list(BackupPlaces.on(places, client), request["targets"], wire)
        elif request["do"] in ("schedule", "init"):
            for client in request["clients"]:
                scheduled.serve(BackupPlaces.on(places, client), request["targets"], request["do"] == "init", wire)
        else:
            for client in request["clients"]:
                wire.send({"standing": standing(BackupPlaces.on(places, client))})
    except JobError as error:
        raise RefusedError("refused", str(error)) from error


def _run(request: Dict[str, Any], places: Places, wire: Wire) -> None:
    """Make archives in a process that outlives the line; whoever listens hears how it goes on."""
    if len(request["clients"]) == 1:
        read_job(BackupPlaces.on(places, request["clients"][0]))
    places.prepare()
    stand_apart("otobot-" + request["run"])
    wire.alone = True
    clock = Clock(wire.beat)

    def tell(record: Dict[str, Any]) -> None:
        with contextlib.suppress(BrokenPipeError):
            wire.send({**record, "client": client})

    for client in request["clients"]:
        wanted = Wanted(request["reason"], request["consistent"], request["who"], places.lock)
        asked = Asked(wanted, request["targets"], patience_s=request["patience_s"])
        try:
            results = Run(BackupPlaces.on(places, client), asked, clock, tell).make()
        except TerminatedError as error:
            raise RefusedError("refused", "the run was ended on the host before it was done") from error
        except (JobError, RefusedError, OSError, StepError, ProbeError) as error:
            if len(request["clients"]) == 1:
                raise _refused(client, error) from error
            told = failure("run", str(error), client, "-")  # the other clients of the host have theirs
            tell({"result": {"target": "-", "archive": None, "error": told, "took_s": 0.0}})
            continue
        if any((each["error"] or {}).get("kind") == "ended" for each in results):
            return


def _refused(client: str, error: Exception) -> RefusedError:
    if isinstance(error, RefusedError):
        return error
    return RefusedError("refused", "{}: the run did not begin: {}".format(client, error))


def _list(here: BackupPlaces, targets: "list[str]", wire: Wire) -> None:
    job = read_job(here)
    for target in job["targets"]:
        if targets and target["name"] not in targets:
            continue
        restic = Restic.of(here, target)
        about = {"client": here.client, "target": target["name"]}
        told: Dict[str, Any] = {**about, "archives": [], "moments": [], "error": None}
        try:
            listed = restic.snapshots(limit_s=_LIST_S)
            bytes_ = {**sizes.of_snapshots(listed), **(sizes.read(here).get(target["name"]) or {})}
            told["archives"] = [{"bytes": bytes_.get(each["id"]), **each} for each in pruning.archives(listed)]
            if job["pitr"]:
                known = log.of_target(log.read(here, log.LOG), log.LOG, target["name"])
                told["moments"] = moments.told(moments.chains_of(listed, known))
        except ResticError as error:
            told["error"] = failure(error.kind, str(error), here.client, target["name"])
        wire.send({"listed": told})


def standing(here: BackupPlaces) -> Dict[str, Any]:
    """How a client's backups stand: its promise, its targets, what state.json says, when each unit is next.

    `targets` is None where it has no job.
    """
    try:
        job = read_job(here)
    except JobError:
        return {"client": here.client, "targets": None}
    return {
        "client": here.client,
        "targets": [{"name": each["name"], "append_only": each["append_only"]} for each in job["targets"]],
        "rpo_s": job["rpo_s"],
        "rto_s": job["rto_s"],
        "drill_days": job["drill_days"],
        "pitr": log.standing(here, job, time.time()),
        "state": _known(here),
        "next": scheduled.starts([unit(here.client)])[0],
    }


def _known(here: BackupPlaces) -> Dict[str, Any]:
    """The state; a run that is under way is no failed one."""
    known = state.read(here.note)
    if lock.holder(here.lock) is not None:
        for each in known["targets"].values():
            if (each.get("attempt") or {}).get("error") == state.UNENDED:
                each["attempt"] = {**each["attempt"], "error": None}
    return known
