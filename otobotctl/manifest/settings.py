"""Which services may be named, and what may be set of each."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from otobotctl.manifest import words
from otobotctl.manifest.document import in_words, objects, texts
from otobotctl.manifest.findings import Finding, Path
from otobotctl.manifest.shape import ServiceShape, SettingShape

_TYPES: Mapping[str, tuple[tuple[type, ...], str]] = {
    "text": ((str,), "text"),
    "integer": ((int,), "a whole number"),
    "number": ((int, float), "a number"),
    "boolean": ((bool,), "true or false"),
    "list": ((list,), "a list"),
}


def check(layer: Mapping[str, Any], path: Path, services: Mapping[str, ServiceShape] | None) -> Iterator[Finding]:
    """Check the services and settings of a client, an environment or the defaults; `path` leads to it."""
    seen: set[str] = set()
    for place, name in texts(layer.get("services")):
        here: Path = (*path, "services", place)
        if name in seen:
            yield Finding(here, f'"{name}" is there twice', "keep one")
        elif services is not None and name not in services:
            yield Finding(here, f'there is no service "{name}"', words.suggest(name, services))
        seen.add(name)
    if services is None:
        return
    for name, settings in objects(layer, "settings").items():
        if name not in services:
            problem = f'there is no service "{name}"'
            yield Finding((*path, "settings", name), problem, words.suggest(name, services))
            continue
        for setting, value in settings.items():
            yield from _setting((*path, "settings", name, setting), services[name], value)


def _setting(path: Path, service: ServiceShape, value: Any) -> Iterator[Finding]:
    shape = service.settings.get(str(path[-1]))
    if shape is None:
        problem = f'{service.name} has no setting "{path[-1]}"'
        yield Finding(path, problem, words.suggest(str(path[-1]), service.settings))
        return
    kinds, wanted = _TYPES[shape.type]
    if not isinstance(value, kinds) or (isinstance(value, bool) and shape.type != "boolean"):
        yield Finding(path, f"expected {wanted}, found {in_words(value)}", _retype(shape, value))
    elif isinstance(value, list):
        yield from _items(path, shape, value)
    elif shape.choices and value not in shape.choices:
        yield Finding(path, f"{_shown(value)} is not a choice", words.suggest(str(value), shape.choices))
    elif shape.pattern and not re.fullmatch(shape.pattern, str(value)):
        yield Finding(path, f"{_shown(value)} is not of the form {shape.pattern}", shape.description)


def _items(path: Path, shape: SettingShape, value: list[Any]) -> Iterator[Finding]:
    for place, item in enumerate(value):
        if shape.choices and item not in shape.choices:
            yield Finding((*path, place), f"{_shown(item)} is not a choice", words.suggest(str(item), shape.choices))
        elif shape.choices and item in value[:place]:
            yield Finding((*path, place), f"{_shown(item)} is there twice", "keep one")


def _shown(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else str(value)


def _retype(shape: SettingShape, value: Any) -> str:
    if shape.type == "text" and isinstance(value, int | float) and not isinstance(value, bool):
        return f'put it in quotes: "{value}"'
    if isinstance(value, str) and shape.type in {"integer", "number", "boolean"}:
        return "take the quotes away"
    return shape.description or "correct it"
