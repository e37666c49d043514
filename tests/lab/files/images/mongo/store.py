"""What the stand-in for mongod remembers: collections and users, in one file that is always whole."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import bson

Document = dict[str, Any]
Result = TypeVar("Result")


class Store:
    """Documents by `database.collection` and users by `database.name`; written to disk before a change is answered."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / "stand-in.bson"
        self._lock = threading.RLock()
        data = bson.decode(self._file.read_bytes()) if self._file.exists() else {}
        self.collections: dict[str, list[Document]] = data.get("collections", {})
        self.users: dict[str, Document] = data.get("users", {})

    def reading(self, what: Callable[[], Result]) -> Result:
        """Return what `what` finds while nothing changes."""
        with self._lock:
            return what()

    def changing(self, what: Callable[[], Result]) -> Result:
        """Return what `what` did, once it is on disk."""
        with self._lock:
            done = what()
            part = self._file.with_suffix(".part")
            with part.open("wb") as file:
                file.write(bson.encode({"collections": self.collections, "users": self.users}))
                file.flush()
                os.fsync(file.fileno())
            part.rename(self._file)
            return done

    def matching(self, name: str, wanted: Document) -> list[Document]:
        """Return the documents of a collection whose fields equal those of `wanted`."""
        if operators := [key for key in _keys(wanted) if key.startswith("$")]:
            raise NotImplementedError(f"the stand-in compares fields for equality alone, not {operators[0]}")
        return [each for each in self.collections.get(name, []) if all(_at(each, key) == wanted[key] for key in wanted)]


def _keys(wanted: Document) -> list[str]:
    inner = [key for value in wanted.values() if isinstance(value, dict) for key in value]
    return [*wanted, *inner]


def _at(document: Document, path: str) -> Any:
    found: Any = document
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    return found


def updated(document: Document, change: Document) -> Document:
    """Return a document after `$set`, `$unset` and `$inc`, or replaced."""
    if not any(key.startswith("$") for key in change):
        return {"_id": document["_id"], **change}
    unknown = change.keys() - {"$set", "$unset", "$inc", "$setOnInsert"}
    if unknown:
        raise NotImplementedError(f"the stand-in does not know {min(unknown)}")
    after = {**document, **change.get("$set", {})}
    for key in change.get("$unset", {}):
        after.pop(key, None)
    for key, by in change.get("$inc", {}).items():
        after[key] = after.get(key, 0) + by
    return after
