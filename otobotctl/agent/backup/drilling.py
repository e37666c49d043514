"""A drill: the newest archive, restored into throw-away containers and compared with what it says of itself.

Every byte is read from the repository, as a real restore would, through programs of the release's own images. What is
measured is what a disaster would take: how long until the data is there and proved, and how old it is.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from typing import Any, Callable, Dict, List, Mapping, Optional

from otobotctl.agent.backup import feeding, keeping, moment, throwaway
from otobotctl.agent.backup.hands import RestoreError
from otobotctl.agent.backup.pitr import here as logs
from otobotctl.agent.backup.pitr.proof import Replay
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.shapes import ARCHIVE_FILE, Archive, Job, Part
from otobotctl.agent.backup.throwaway import DrillError, Throwaway, refuse_without_room
from otobotctl.agent.dumps import ADMIN, DumpError
from otobotctl.agent.run import ProbeError

VERSION = 1
VAULT = "vault-api"
_ADMIN_ROLE = re.compile(rb'^CREATE ROLE "?' + ADMIN.encode() + rb'"?;\n', re.MULTILINE)
_DOCUMENTS = re.compile(r"(\d+) document\(s\) restored successfully\. (\d+) document")
_WORKFLOWS = "SELECT count(*) || ' ' || count(*) FILTER (WHERE active) FROM workflow_entity;"
_WEEK_S = 7 * 86400.0
_USAGE = 2
_GROWTH = 2  # a database is larger than its dump: indexes, free space, the log that is written ahead

Say = Callable[[Dict[str, Any]], None]
Ready = Callable[[str, str], str]


class Drill:
    """One drill of one target. `vault` are the variables of the vault's container: secrets, that stay in memory.

    `ready` makes a service's image ready to be run, and says which one that is: the archive's own, unless it has gone.
    `note` is what the client's own host knows of its log (pitr/here.py).
    """

    def __init__(
        self,
        job: Job,
        restic: Restic,
        vault: Callable[[], Dict[str, str]],
        say: Say,
        ready: Optional[Ready] = None,
        note: Optional[Mapping[str, Any]] = None,
    ) -> None:
        self._job, self._restic, self._vault, self._say = job, restic, vault, say
        self._ready: Ready = ready or (lambda _service, image: image)
        self._note: Mapping[str, Any] = note or {"targets": {}}
        self._checks: List[Dict[str, Any]] = []
        self._parts: List[Dict[str, Any]] = []
        self._started: List[str] = []

    def run(self) -> Dict[str, Any]:
        """Restore and prove; return the report, whose `ok` says whether all of it was as it should be.

        Raises:
            ResticError: the repository cannot be read. DrillError: there is no archive, or nothing to restore into.
        """
        began = time.time()
        groups = self._groups()
        archive = self.newest(groups)
        self._say({"archive": archive["id"], "parts": len(archive["parts"])})
        dumps = sum(part["bytes"] for part in archive["parts"] if part["name"].startswith("/databases/"))
        refuse_without_room(_GROWTH * dumps, "a drill")
        here = Throwaway(self._job["client"])
        for part in sorted(archive["parts"], key=lambda each: each["name"] != "/databases/roles.sql"):
            self._part(here, archive, part)
        self._prove(here, archive)
        ended = time.time()
        log = self._log(archive)
        return {
            "version": VERSION,
            "client": self._job["client"],
            "target": self._restic.name,
            "archive": archive["id"],
            "made": archive["made"],
            "consistent": archive["consistent"],
            "release": archive["release"],
            "images": archive["images"],
            "at": round(began, 3),
            "took_s": round(ended - began, 3),
            "age_s": round(began - archive["made"], 3),
            "rpo_s": round(_gap_s(groups, began), 3),
            "promised": {"rpo_s": self._job["rpo_s"], "rto_s": self._job["rto_s"]},
            "parts": self._parts,
            "log": log,
            "checks": self._checks,
            "ok": all(each["ok"] for each in self._checks),
        }

    def _groups(self) -> List[keeping.Group]:
        found = keeping.groups(self._restic.snapshots())
        archives = [group for group in found if group.heads]
        if not archives:
            raise DrillError("there is no archive on {} yet".format(self._restic.name))
        return archives

    def newest(self, groups: List[keeping.Group]) -> Archive:
        """What the newest archive says of itself. Raises DrillError, ResticError."""
        try:
            found: Archive = json.loads(self._restic.read(groups[-1].heads[-1], ARCHIVE_FILE))
        except ValueError as error:
            raise DrillError("what archive {} says of itself is not JSON".format(groups[-1].id)) from error
        if found["id"] != groups[-1].id or found["client"] != self._job["client"]:
            raise DrillError("archive {} is not what its snapshots say".format(groups[-1].id))
        return found

    def _part(self, here: Throwaway, archive: Archive, part: Part) -> None:
        """Restore one part; what is wrong with it is a check that failed, and the others go on."""
        began, name = time.time(), part["name"]
        self._say({"part": name})
        found: Dict[str, Any] = {"name": name, "bytes": part["bytes"]}
        try:
            found.update(self._restored(here, archive, part))
            self._check(name, found.pop("error", ""))
        except (DrillError, DumpError, ProbeError, OSError) as error:
            self._check(name, str(error))
        self._parts.append(dict(found, took_s=round(time.time() - began, 3)))

    def _restored(self, here: Throwaway, archive: Archive, part: Part) -> Dict[str, Any]:
        folder, _, name = part["name"].lstrip("/").partition("/")
        base = name.split(".", 1)[0]
        if folder == "databases" and name == "roles.sql":
            return self._roles(here, self._service("postgres", "", here, archive), part)
        if folder == "databases" and name.endswith(".dump"):
            return self._database(here, self._service("postgres", base, here, archive), base, part)
        if folder == "databases" and ".archive" in name:
            return self._documents(here, self._service("mongo", base, here, archive), name, part)
        return self._files(part)

    def _service(self, kind: str, name: str, here: Throwaway, archive: Archive) -> str:
        """The service that holds this database, started from the release's image if it is not yet."""
        holders = [
            each["service"] for each in self._job["sources"] if each["kind"] == kind and name in ("", each["name"])
        ]
        service = holders[0] if holders else kind
        if service not in self._started:
            image = archive["images"].get(service)
            if not image:
                raise DrillError("the archive does not say which image {} had".format(service))
            image = self._ready(service, image)
            self._say({"starting": service})
            (here.postgres if kind == "postgres" else here.mongo)(service, image)
            self._started.append(service)
        return service

    def _roles(self, here: Throwaway, service: str, part: Part) -> Dict[str, Any]:
        text = self._restic.read(part["snapshot"], part["name"]).encode()
        here.sql(service, _ADMIN_ROLE.sub(b"", text).decode())  # the server was started with that one
        return feeding.came(part, len(text), hashlib.sha256(text).hexdigest())

    def _database(self, here: Throwaway, service: str, name: str, part: Part) -> Dict[str, Any]:
        words = ("pg_restore", "--username=" + ADMIN, "--no-password", "--exit-on-error", "--create")
        found = feeding.feed(self._restic, part, here.inside(service, *words, "--dbname=postgres"))
        rows = moment.rows_of(here, service, name)  # type: ignore[arg-type]  # it has what a Project has for it: inside
        found.update(rows=sum(rows.values()), tables=len(rows), digest=moment.digest(rows))
        if part["rows"] is None:
            found["error"] = found.get("error") or "the archive does not say how many rows there were"
        elif moment.digest(part["rows"]) != found["digest"]:
            found["error"] = found.get("error") or _differences(part["rows"], rows)
        if "public.workflow_entity" in rows:
            workflows, active = here.sql(service, _WORKFLOWS, name).split()
            found.update(workflows=int(workflows), active=int(active))
        return found

    def _documents(self, here: Throwaway, service: str, name: str, part: Part) -> Dict[str, Any]:
        words = ["mongorestore", "--archive", "--stopOnError", *(["--gzip"] if name.endswith(".gz") else [])]
        found = feeding.feed(self._restic, part, here.inside(service, *words))
        told = _DOCUMENTS.search(found.pop("said", ""))
        if told is None:
            found["error"] = found.get("error") or "mongorestore did not say how many documents it restored"
        else:
            found["documents"] = int(told.group(1))
            if int(told.group(2)):
                found["error"] = "{} documents were not restored".format(told.group(2))
        return found

    def _files(self, part: Part) -> Dict[str, Any]:
        """Read a tar to its end: its blocks are whole and its names are listed. Nothing is written."""
        listing = os.memfd_create("listing")
        try:
            found = feeding.feed(self._restic, part, ["tar", "--list", "--file=-"], listing)
            found["files"] = os.pread(listing, os.fstat(listing).st_size, 0).count(b"\n")
            return found
        finally:
            os.close(listing)

    def _prove(self, here: Throwaway, archive: Archive) -> None:
        """Decrypt what the vault stored, with its own image and key."""
        image = archive["images"].get(VAULT)
        if not image:
            return
        try:
            image = self._ready(VAULT, image)
            self._say({"proving": VAULT})
            status, stdout, said = here.once(VAULT, image, self._vault(), "python", "-m", "vault_api", "prove")
            found: Optional[Dict[str, int]] = json.loads(stdout) if stdout.strip() else None
        except (DrillError, ProbeError, ValueError) as error:
            self._check("credentials", str(error))
            return
        if found is None:
            old = "; an image from before has no such command: deploy once, and the next archive has it"
            self._check(
                "credentials",
                "vault_api prove ended with {}: {}{}".format(status, said, old if status == _USAGE else ""),
            )
            return
        wrong = "{} of {} do not open".format(found["failed"], found["failed"] + found["opened"])
        self._check("credentials", wrong if found["failed"] or status else "", **found)

    def _log(self, archive: Archive) -> Optional[Dict[str, Any]]:
        """The log of a client with point-in-time recovery, replayed to its end; None: it has none, or it cannot be."""
        names = logs.names(self._job)
        if not self._job["pitr"] or names is None:
            return None
        throwaway.clear(self._job["client"])  # the archive is proved, and the disk is needed
        try:
            image = self._ready(names.service, archive["images"].get(names.service) or "")
            found, wrong = Replay(self._job, self._restic, self._note, self._say).run(names.service, image, archive)
        except (ResticError, RestoreError, DrillError, DumpError, ProbeError, OSError) as error:
            self._check("log", str(error))
            return None
        self._check("log", wrong)
        return found

    def _check(self, name: str, error: str, **more: Any) -> None:
        self._checks.append(dict(more, name=name, ok=not error, error=error or None))
        self._say({"check": name, "wrong": error})  # a record with "error" would end the exchange


def _differences(expected: Dict[str, int], found: Dict[str, int]) -> str:
    """Which tables differ, the first few by name."""
    names = sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))
    told = ["{} has {} rows of {}".format(name, found.get(name, "no"), expected.get(name, "no")) for name in names[:3]]
    return "; ".join(told) + ("; and {} more".format(len(names) - len(told)) if len(names) > len(told) else "")


def _gap_s(groups: List[keeping.Group], now: float) -> float:
    """What a disaster at the worst moment of the last week would have cost: from an archive to the end of the next."""
    recent = [group for group in groups if group.made > now - _WEEK_S] or groups[-1:]
    worst = now - recent[-1].made
    for earlier, later in zip(recent, recent[1:]):
        worst = max(worst, later.newest - earlier.made)
    return worst
