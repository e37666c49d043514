"""Edits of JSON text that leave every other byte as it was. Pure; the text must be JSON without duplicate keys."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from json.decoder import scanstring  # type: ignore[attr-defined]  # there since Python 2.6, only the stubs lack it
from typing import Any

import msgspec

Path = Sequence[str]

_SPACE = re.compile(r"[ \t\r\n]*")
_NESTED = re.compile(r'"(?:[^"\\]|\\.)*"|[][{}]')
_SCALAR = re.compile(r"[^][{},: \t\r\n]+")
_INLINE = 88


class Item(msgspec.Struct, frozen=True):
    """An entry of an object or a list: `text[start:end]`. `value` is where its value starts; `name` is "" in a list."""

    name: str
    start: int
    value: int
    end: int


def put(text: str, path: Path, value: Any) -> str:
    """Return the text with `value` at `path`: replaced where it is, or added last to its object.

    Objects on the way that are missing are added too.
    """
    *parents, name = path
    start = _find(text, parents)
    if start is None:
        return put(text, parents, {name: value})
    for item in _items(text, start):
        if item.name == name:
            written = _write(value, _unit(text), _margin(text, item.start), _newline(text), _is_inline(text, start))
            return text[: item.value] + written + text[item.end :]
    return _add(text, start, name, value)


def append(text: str, path: Path, value: Any) -> str:
    """Return the text with `value` added last to the list at `path`, which is made if it is missing."""
    start = _find(text, path)
    return put(text, path, [value]) if start is None else _add(text, start, None, value)


def remove(text: str, path: Path) -> str:
    """Return the text without what is at `path`; it must be there."""
    *parents, name = path
    start = _find(text, parents)
    items = _items(text, start) if start is not None else []
    place = next((place for place, item in enumerate(items) if item.name == name), None)
    if start is None or place is None:
        raise KeyError(name)
    return _cut(text, start, items, place)


def take(text: str, path: Path, place: int) -> str:
    """Return the text without the item at this place of the list at `path`; it must be there."""
    start = _find(text, path)
    items = _items(text, start) if start is not None else []
    if start is None or place >= len(items):
        raise KeyError(place)
    return _cut(text, start, items, place)


def _cut(text: str, start: int, items: Sequence[Item], place: int) -> str:
    if len(items) == 1:
        return text[: start + 1] + text[_end(text, start) - 1 :]
    if place + 1 < len(items):
        return text[: items[place].start] + text[items[place + 1].start :]
    return text[: items[place - 1].end] + text[items[place].end :]


def _find(text: str, path: Path) -> int | None:
    """Return where the value at `path` starts, None if there is none."""
    start = _past_space(text, 0)
    for name in path:
        found = [item.value for item in _items(text, start) if item.name == name]
        if not found:
            return None
        start = found[0]
    return start


def _items(text: str, start: int) -> list[Item]:
    """Return the items of the object or list that starts at `start`."""
    items: list[Item] = []
    is_object = text[start] == "{"
    position = _past_space(text, start + 1)
    while text[position] not in "}]":
        begin, name = position, ""
        if is_object:
            name, position = scanstring(text, position + 1)
            position = _past_space(text, _past_space(text, position) + 1)
        end = _end(text, position)
        items.append(Item(name, begin, position, end))
        position = _past_space(text, end)
        if text[position] == ",":
            position = _past_space(text, position + 1)
    return items


def _end(text: str, start: int) -> int:
    """Return where the value that starts at `start` ends."""
    if text[start] not in '{["':
        match = _SCALAR.match(text, start)
        return match.end() if match else start
    depth = 0
    for token in _NESTED.finditer(text, start):
        depth += {"{": 1, "[": 1, "}": -1, "]": -1}.get(token.group(), 0)
        if depth == 0:
            return token.end()
    return len(text)


def _add(text: str, start: int, name: str | None, value: Any) -> str:
    """Add an item last to the object or list at `start`, in the manner of the items that are there."""
    items = _items(text, start)
    inline = _is_inline(text, start)
    newline, unit = _newline(text), _unit(text)
    if items:
        last = items[-1]
        before = items[-2].end if len(items) > 1 else start
        space = text[_past_comma(text, before) : last.start]
        if inline and len(items) == 1:
            space = " " if ", " in text or ": " in text else ""
        margin = _margin(text, last.start)
        entry = _entry(text, last, name) + _write(value, unit, margin, newline, inline)
        return f"{text[: last.end]},{space}{entry}{text[last.end :]}"
    outer = _margin(text, start)
    colon = "" if name is None else f"{json.dumps(name, ensure_ascii=False)}: "
    close = _end(text, start) - 1
    if inline:
        return text[: start + 1] + colon + _write(value, unit, outer, newline, inline) + text[close:]
    margin = outer + unit
    written = f"{newline}{margin}{colon}{_write(value, unit, margin, newline, inline)}{newline}{outer}"
    return text[: start + 1] + written + text[close:]


def _entry(text: str, like: Item, name: str | None) -> str:
    """Return the key and colon of a new entry, spaced as in the entry `like`."""
    if name is None:
        return ""
    spaced = text[scanstring(text, like.start + 1)[1] : like.value]
    return json.dumps(name, ensure_ascii=False) + ("".join(spaced.split("\n")) if "\n" in spaced else spaced)


def _write(value: Any, unit: str, margin: str, newline: str, inline: bool) -> str:
    """Return the value as JSON text, further lines after `margin`; a short list of scalars stays on one line."""
    flat = json.dumps(value, ensure_ascii=False)
    if inline or not isinstance(value, Mapping | list) or not value:
        return flat
    scalars = isinstance(value, list) and not any(isinstance(item, Mapping | list) for item in value)
    if scalars and len(flat) <= _INLINE:
        return flat
    inner = margin + unit
    if isinstance(value, Mapping):
        pairs = [(f"{json.dumps(name, ensure_ascii=False)}: ", item) for name, item in value.items()]
    else:
        pairs = [("", item) for item in value]
    lines = [f"{inner}{key}{_write(item, unit, inner, newline, inline)}" for key, item in pairs]
    left, right = "{}" if isinstance(value, Mapping) else "[]"
    return f"{left}{newline}{f',{newline}'.join(lines)}{newline}{margin}{right}"


def _is_inline(text: str, start: int) -> bool:
    """Tell whether the object or list at `start` is written on one line; an empty one is as the whole file is."""
    end = _end(text, start)
    body = text[start:end]
    return "\n" not in (body if body[1:-1].strip() else text.strip())


def _margin(text: str, position: int) -> str:
    """Return the space that the line of `position` starts with."""
    begin = text.rfind("\n", 0, position) + 1
    return text[begin : begin + len(text[begin:]) - len(text[begin:].lstrip(" \t"))]


def _unit(text: str) -> str:
    """Return one step of indentation: that of the first key."""
    match = re.search(r"\n([ \t]+)\S", text)
    return match.group(1) if match else "  "


def _newline(text: str) -> str:
    return "\r\n" if "\r\n" in text else "\n"


def _past_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    return match.end() if match else position


def _past_comma(text: str, position: int) -> int:
    """Return where the space before an item starts: after the comma, or after the opening bracket."""
    after = _past_space(text, position)
    return after + 1 if text[after] == "," else position + 1
