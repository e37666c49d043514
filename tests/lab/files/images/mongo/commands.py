"""The commands that the stand-in for mongod answers, and who may give them."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from typing import Any

import bson
import users
from store import Document, Store, updated
from users import RefusedError, Scram

VERSION = "8.0.20"
# Answered before a login too, as by the real one.
_OPEN = frozenset(
    {"hello", "ismaster", "ping", "buildinfo", "connectionstatus", "saslstart", "saslcontinue", "logout", "endsessions"}
)
_USERS = frozenset({"createuser", "updateuser", "dropuser"})
_EVERYWHERE = frozenset(
    {
        "listdatabases",
        "getcmdlineopts",
        "getparameter",
        "hostinfo",
        "getlog",
        "serverstatus",
        "usersinfo",
        "atlasversion",
    }
)


class Session:
    """One connection: who has logged in, and the answer to each command."""

    def __init__(self, store: Store, *, auth: bool) -> None:
        self._store, self._auth = store, auth
        self._logged_in: dict[str, Document] = {}
        self._scram: Scram | None = None

    def run(self, command: Document) -> Document:
        """Return the answer to a command, an error as the real one words it."""
        name = next(iter(command))
        answer: Callable[[Document], Document] = getattr(self, f"do_{name.lower()}", _unknown)
        try:
            self._allow(name.lower(), command)
            return {**answer(command), "ok": 1.0}
        except RefusedError as error:
            return {"ok": 0.0, "errmsg": str(error), "code": error.code, "codeName": error.name}
        except NotImplementedError as error:
            return {"ok": 0.0, "errmsg": str(error), "code": 238, "codeName": "NotImplemented"}

    def _allow(self, name: str, command: Document) -> None:
        if not self._auth or name in _OPEN:
            return
        if not self._logged_in:
            raise RefusedError(13, "Unauthorized", f"Command {name} requires authentication")
        held = [role for user in self._logged_in.values() for role in user["roles"]]
        if any(role["role"] == "root" for role in held):
            return
        needed = {"dbOwner"} if name in _USERS else {"dbOwner", "readWrite"}
        if name not in _EVERYWHERE and not any(
            role["role"] in needed and role["db"] == command["$db"] for role in held
        ):
            raise RefusedError(13, "Unauthorized", f"not authorized on {command['$db']} to execute command {name}")

    # ------------------------------------------------------------ the server
    def do_hello(self, command: Document) -> Document:
        """What a driver asks first."""
        found: Document = {
            "helloOk": True, "isWritablePrimary": True, "ismaster": True, "maxBsonObjectSize": 16_777_216,
            "maxMessageSizeBytes": 48_000_000, "maxWriteBatchSize": 100_000, "localTime": dt.datetime.now(dt.UTC),
            "logicalSessionTimeoutMinutes": 30, "connectionId": id(self) % 2**31, "minWireVersion": 0, "maxWireVersion": 25,
            "readOnly": False,
        }  # fmt: skip
        if "saslSupportedMechs" in command:
            known = command["saslSupportedMechs"] in self._store.users
            found |= {"saslSupportedMechs": ["SCRAM-SHA-256"]} if known else {}
        return found

    do_ismaster = do_hello

    def do_ping(self, _: Document) -> Document:
        """Nothing but yes."""
        return {}

    do_endsessions = do_createindexes = do_ping

    def do_buildinfo(self, _: Document) -> Document:
        """Which version it stands in for."""
        numbers = [int(part) for part in VERSION.split(".")]
        return {"version": VERSION, "versionArray": [*numbers, 0], "gitVersion": "stand-in", "modules": [], "bits": 64}

    def do_connectionstatus(self, _: Document) -> Document:
        """Who this connection is."""
        who = [{"user": user["user"], "db": user["db"]} for user in self._logged_in.values()]
        roles = [role for user in self._logged_in.values() for role in user["roles"]]
        return {"authInfo": {"authenticatedUsers": who, "authenticatedUserRoles": roles}}

    def do_listdatabases(self, _: Document) -> Document:
        """The names."""
        names = sorted({name.partition(".")[0] for name in self._store.collections})
        return {"databases": [{"name": name, "sizeOnDisk": 0, "empty": False} for name in names], "totalSize": 0}

    def do_listcollections(self, command: Document) -> Document:
        """The names in a database."""
        start = command["$db"] + "."
        names = sorted(name.removeprefix(start) for name in self._store.collections if name.startswith(start))
        return _cursor(command, "$cmd.listCollections", [{"name": name, "type": "collection"} for name in names])

    # ------------------------------------------------------------ users
    def do_saslstart(self, command: Document) -> Document:
        """The first of a login's two steps."""
        if command["mechanism"] != "SCRAM-SHA-256":
            raise RefusedError(
                334, "MechanismUnavailable", f"Received authentication for mechanism {command['mechanism']}"
            )
        self._scram = Scram(self._store.users, command["$db"], bytes(command["payload"]))
        return {"conversationId": 1, "done": False, "payload": self._scram.challenge()}

    def do_saslcontinue(self, command: Document) -> Document:
        """The second; a wrong password ends here."""
        if self._scram is None:
            raise RefusedError(17, "ProtocolError", "No SASL session state found")
        proof = self._scram.check(bytes(command["payload"]))
        self._logged_in[self._scram.user["db"]] = self._scram.user
        return {"conversationId": 1, "done": True, "payload": proof}

    def do_logout(self, command: Document) -> Document:
        """Forget one database's login."""
        self._logged_in.pop(command["$db"], None)
        return {}

    def do_createuser(self, command: Document) -> Document:
        """A new user of a database."""
        self._store.changing(lambda: users.create(self._store.users, command))
        return {}

    def do_updateuser(self, command: Document) -> Document:
        """Another password or other roles."""
        self._store.changing(lambda: users.update(self._store.users, command))
        return {}

    def do_dropuser(self, command: Document) -> Document:
        """A user less."""
        if self._store.changing(lambda: self._store.users.pop(f"{command['$db']}.{command['dropUser']}", None)) is None:
            raise RefusedError(11, "UserNotFound", f"User '{command['dropUser']}@{command['$db']}' not found")
        return {}

    def do_usersinfo(self, command: Document) -> Document:
        """One user, or all of a database; nothing of their passwords."""
        return {"users": users.told(self._store.users, command["usersInfo"], command["$db"])}

    # ------------------------------------------------------------ documents
    def do_insert(self, command: Document) -> Document:
        """New documents; two with one _id are refused."""
        documents, name = command["documents"], _collection(command, "insert")

        def insert() -> None:
            there = self._store.collections.setdefault(name, [])
            there += [{"_id": bson.ObjectId(), **document} for document in documents]

        ids = [each["_id"] for each in self._store.matching(name, {})]
        if any(document.get("_id", document) in ids for document in documents):
            error = {"index": 0, "code": 11000, "errmsg": f"E11000 duplicate key error collection: {name}"}
            return {"n": 0, "writeErrors": [error]}
        self._store.changing(insert)
        return {"n": len(documents)}

    def do_find(self, command: Document) -> Document:
        """Documents by equality, in the order they came."""
        found = self._store.reading(
            lambda: self._store.matching(_collection(command, "find"), command.get("filter", {}))
        )
        return _cursor(command, command["find"], found[: command.get("limit") or None])

    def do_count(self, command: Document) -> Document:
        """How many."""
        return {"n": len(self._store.matching(_collection(command, "count"), command.get("query", {})))}

    def do_aggregate(self, command: Document) -> Document:
        """Only what countDocuments sends: a match and a sum."""
        stages = command["pipeline"]
        match: Mapping[str, Any] = next((stage["$match"] for stage in stages if "$match" in stage), {})
        if [key for stage in stages for key in stage] not in (["$match", "$group"], ["$group"]):
            raise NotImplementedError("the stand-in only counts")
        count = len(self._store.matching(_collection(command, "aggregate"), dict(match)))
        return _cursor(command, command["aggregate"], [{"_id": 1, "n": count}] if count else [])

    def do_update(self, command: Document) -> Document:
        """Change or replace documents, or insert one with upsert."""
        name = _collection(command, "update")
        counts = [self._store.changing(lambda each=each: self._update(name, each)) for each in command["updates"]]
        upserted = [{"index": at, "_id": each[1]} for at, each in enumerate(counts) if each[1] is not None]
        total = sum(count for count, _ in counts)
        return {"n": total + len(upserted), "nModified": total, **({"upserted": upserted} if upserted else {})}

    def _update(self, name: str, each: Document) -> tuple[int, Any]:
        found = self._store.matching(name, each["q"])[: None if each.get("multi") else 1]
        for document in found:
            after = updated(document, each["u"])
            document.clear()
            document.update(after)
        if found or not each.get("upsert"):
            return len(found), None
        fresh = updated({"_id": bson.ObjectId(), **each["q"], **each["u"].get("$setOnInsert", {})}, each["u"])
        self._store.collections.setdefault(name, []).append(fresh)
        return 0, fresh["_id"]

    def do_delete(self, command: Document) -> Document:
        """Documents less."""
        name = _collection(command, "delete")

        def delete(each: Document) -> int:
            gone = self._store.matching(name, each["q"])[: each.get("limit") or None]
            self._store.collections[name] = [kept for kept in self._store.matching(name, {}) if kept not in gone]
            return len(gone)

        return {"n": sum(self._store.changing(lambda each=each: delete(each)) for each in command["deletes"])}


def _unknown(command: Document) -> Document:
    raise RefusedError(59, "CommandNotFound", f"no such command: '{next(iter(command))}'")


def _collection(command: Document, key: str) -> str:
    return f"{command['$db']}.{command[key]}"


def _cursor(command: Document, name: str, documents: list[Document]) -> Document:
    return {"cursor": {"id": bson.Int64(0), "ns": f"{command['$db']}.{name}", "firstBatch": documents}}
