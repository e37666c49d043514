"""The bytes of a manifest to plain values, and everything that can be wrong before any of it means something."""

from __future__ import annotations

import codecs
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from otobotctl.errors import ManifestError

_DEPTH = "the JSON is nested too deeply"


class Object(dict[str, Any]):
    """A JSON object that remembers the keys it saw twice (the last value won)."""

    duplicates: tuple[str, ...] = ()


def read(path: Path) -> bytes:
    """Return the file's bytes. Raises ManifestError: missing, a directory, unreadable."""
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ManifestError(f"{path} does not exist", hint=f"otobotctl init {path.parent}") from error
    except IsADirectoryError as error:
        raise ManifestError(f"{path} is a directory", hint="give --fleet the fleet's directory") from error
    except OSError as error:
        raise ManifestError(f"{path} cannot be read: {error.strerror}", hint=f"see: ls -l {path}") from error


def parse(raw: bytes, name: str) -> Object:
    """Return the JSON object in `raw`. `name` is the file's, for messages.

    Raises:
        ManifestError: empty, a byte order mark, not UTF-8, not JSON (with line and column), not an object.
    """
    text = _text(raw, name)
    try:
        document = json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ManifestError(f"{name} is not JSON: {_problem(error)} at {where}", hint=_remedy(text, error)) from error
    except RecursionError as error:
        raise ManifestError(f"{name}: {_DEPTH}", hint="a manifest has five levels at most") from error
    except ValueError as error:
        raise ManifestError(f"{name} is not JSON: {error}", hint="write a number, or leave the key out") from error
    if not isinstance(document, Object):
        raise ManifestError(f"{name} holds {in_words(document)}, not an object", hint="start from: otobotctl init DIR")
    return document


def in_words(value: object) -> str:
    """Return what kind of JSON value this is, for a person."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true or false"
    names: Mapping[type, str] = {int: "a whole number", float: "a number", str: "text", list: "a list"}
    return next((name for kind, name in names.items() if isinstance(value, kind)), "an object")


def objects(holder: Mapping[str, Any], name: str) -> dict[str, dict[str, Any]]:
    """Return those entries of `holder[name]` that are objects themselves; none when it is not an object."""
    held = holder.get(name)
    if not isinstance(held, dict):
        return {}
    return {key: value for key, value in held.items() if isinstance(value, dict)}


def texts(value: Any) -> list[tuple[int, str]]:
    """Return those items of a list that are text, each with its place; none when it is not a list."""
    if not isinstance(value, list):
        return []
    return [(place, item) for place, item in enumerate(value) if isinstance(item, str)]


def _text(raw: bytes, name: str) -> str:
    if raw.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raise ManifestError(
            f"{name} starts with a byte order mark", hint='save it as "UTF-8" and not "UTF-8 with BOM" or UTF-16'
        )
    if not raw.strip():
        raise ManifestError(f"{name} is empty", hint=f"bring it back: git restore {name}")
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ManifestError(f"{name} is not UTF-8 (line {line})", hint="save it with the encoding UTF-8") from error


def _object(pairs: list[tuple[str, Any]]) -> Object:
    found = Object(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        found.duplicates = tuple(name for name in found if names.count(name) > 1)
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _problem(error: json.JSONDecodeError) -> str:
    message = error.msg[:1].lower() + error.msg[1:]
    return message.removesuffix(" at")


def _remedy(text: str, error: json.JSONDecodeError) -> str:
    before = text[: error.pos].rstrip()
    here = text[error.pos : error.pos + 2]
    if here in {"//", "/*"} or here.startswith("#"):
        return "JSON has no comments: take it out"
    if here.startswith(("}", "]")) or "trailing comma" in error.msg:
        return "take out the comma before the closing bracket"
    if here.startswith("'"):
        return 'JSON text stands in double quotes: "like this"'
    if not here:
        return "the file ends too early: is a closing bracket or quote missing?"
    if error.msg.startswith("Expecting ','") and before:
        return "is a comma missing at the end of the line before?"
    return "look at that place in the file"
