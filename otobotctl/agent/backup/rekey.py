"""Other passwords for a client's repositories: a new one is let in, and a former one goes. Both come over the line.

Each step may be done again, whatever came of it before: what is there already is left, what has gone is no failure. A
key that this made is marked with what its password is worth: so one whose password nobody has written down, because
somebody was killed, is found and removed. Other keys, such as an operator's own, are never touched.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import time
from typing import Any, Callable, Dict, Iterator

from otobotctl.agent import lock
from otobotctl.agent.backup import state
from otobotctl.agent.backup.places import BackupPlaces, JobError, read_job
from otobotctl.agent.backup.remedies import failure
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.shapes import Target
from otobotctl.agent.memory import in_memory
from otobotctl.agent.wire import RefusedError

Say = Callable[[Dict[str, Any]], None]
_PREFIX = "otobot-"
_ANSWER_S = 120.0


def serve(request: Dict[str, Any], places: BackupPlaces, tell: Say) -> None:
    """Do to every target what `asked` says; send {"key": {target, state, id, error}} for each. Raises RefusedError.

    `do` is look, add (let `value` in, by whichever of both opens it) or remove (`value`, once `by` opens it). `state`:
    open or closed for `value`, absent (never made), added, removed, kept (append-only; `id` is the key's), or failed.
    """
    asked = request["asked"]
    does = {"look": _look, "add": _add, "remove": _remove}[asked["do"]]
    try:
        targets = read_job(places)["targets"]
    except JobError as error:
        raise RefusedError("refused", str(error)) from error
    with _alone(places, request["who"]) if asked["do"] != "look" else contextlib.nullcontext():
        for target in targets:
            told: Dict[str, Any] = {"target": target["name"], "state": "failed", "id": "", "error": None}
            try:
                told.update(does(_Keys(places, target, asked["value"]), _Keys(places, target, asked.get("by", ""))))
            except ResticError as error:
                told["error"] = failure(error.kind, str(error), places.client, target["name"])
            tell({"key": told})


class _Keys:
    """One repository, opened by one password."""

    def __init__(self, places: BackupPlaces, target: Target, value: str) -> None:
        known = state.of_target(state.read(places.note), target["name"])
        self.append_only = target["append_only"]
        self.client, self.name, self.value = places.client, target["name"], value
        self._never = known["archive"] is None and not known.get("first")
        opened = target.copy()
        opened["environment"] = dict(target["environment"], RESTIC_PASSWORD=value)
        self._restic = Restic(opened, "")

    def seen(self) -> str:
        """Whether the password opens it: open, closed, or absent where there never was one. Raises ResticError."""
        try:
            self._restic.run("cat", "config", "--no-lock", timeout_s=_ANSWER_S)
        except ResticError as error:
            if error.kind == "password":
                return "closed"
            if error.kind == "absent" and self._never:
                return "absent"
            raise
        return "open"

    def add(self, value: str) -> None:
        """Let another password in. Raises ResticError."""
        with in_memory({"password": value + "\n"}) as paths:
            words = ("--new-password-file", paths["password"], "--user", mark(value), "--host", self.client)
            self._restic.run("key", "add", *words)

    def listed(self) -> "list[Dict[str, Any]]":
        """The keys: id, userName, and whether it is the one that opens here (current). Raises ResticError."""
        found: "list[Dict[str, Any]]" = json.loads(self._restic.run("key", "list", "--json", timeout_s=_ANSWER_S))
        return found

    def own(self) -> str:
        """The id of the key that opens here. Raises ResticError."""
        return next(str(each["id"]) for each in self.listed() if each["current"])

    def remove(self, number: str) -> None:
        """Remove a key, which cannot be the one that opens here. Raises ResticError."""
        self._restic.alone("key", "remove", number, timeout_s=_ANSWER_S)


def mark(value: str) -> str:
    """What marks a key that was made for this password; nobody can test guesses by it sooner than by the key itself."""
    made = hashlib.scrypt(value.encode(), salt=b"otobot-repository", n=1 << 14, r=8, p=1, dklen=8)
    return _PREFIX + made.hex()


def _look(of: _Keys, _by: _Keys) -> Dict[str, Any]:
    return {"state": of.seen()}


def _add(new: _Keys, by: _Keys) -> Dict[str, Any]:
    before = new.seen()
    if before != "closed":
        return {"state": before}
    if by.seen() != "open":
        raise ResticError("password", "neither the new key nor the one before opens {}".format(new.name))
    by.add(new.value)
    if new.seen() != "open":
        raise ResticError("other", "the key that was added does not open {}".format(new.name))
    return {"state": "added"}


def _remove(old: _Keys, by: _Keys) -> Dict[str, Any]:
    """Never before the other one was seen to open it."""
    before = by.seen()
    if before == "absent":
        return {"state": before}
    if before != "open":
        raise ResticError("password", "the key in use does not open {}: the other one stays".format(by.name))
    number = old.own() if old.value and old.seen() == "open" else ""
    if old.append_only:
        return {"state": "kept" if number else "removed", "id": number}
    if number:
        by.remove(number)
    for each in by.listed():
        if each["userName"].startswith(_PREFIX) and each["userName"] != mark(by.value) and not each["current"]:
            by.remove(str(each["id"]))
    return {"state": "removed"}


@contextlib.contextmanager
def _alone(places: BackupPlaces, who: str) -> Iterator[None]:
    """While no run works on the repositories. Raises RefusedError: one does."""
    places.prepare()
    holder = {"run": "rekey", "who": who, "at": round(time.time(), 3), "pid": os.getpid()}
    try:
        held = lock.acquire(places.lock, holder)
    except RefusedError as error:
        message = "a backup of {} is under way".format(places.client)
        raise RefusedError("locked", message, error.holder) from error
    try:
        yield
    finally:
        os.close(held)
