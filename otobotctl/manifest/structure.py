"""Every wrong type and unknown key of a manifest at once, in words. Slow to import: for manifests that are wrong."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from otobotctl.manifest import words
from otobotctl.manifest.document import in_words
from otobotctl.manifest.findings import Finding, Path
from otobotctl.manifest.schema import structure

_TYPES: Mapping[str, str] = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}


def check(document: Mapping[str, Any]) -> Iterator[Finding]:
    """Yield every place where the document is not of the manifest's form."""
    # JSON Schema calls 22.0 and 1e300 integers; the models do not.
    types = Draft202012Validator.TYPE_CHECKER.redefine("integer", lambda _, value: type(value) is int)
    strict = validators.extend(Draft202012Validator, type_checker=types)  # type: ignore[no-untyped-call]
    validator = strict(structure())
    for error in validator.iter_errors(document):
        yield from _explain(error)


def _explain(error: ValidationError) -> Iterator[Finding]:
    path: Path = tuple(error.absolute_path)
    value: Any = error.instance
    wanted: Any = error.validator_value
    if error.validator == "anyOf":
        yield from _any_of(error)
    elif error.validator == "additionalProperties":
        yield from _unknown_keys(path, value, error.schema)
    elif error.validator == "required":
        yield from _missing(path, value, wanted, error)
    elif error.validator == "type":
        yield Finding(path, f"expected {_TYPES[wanted]}, found {in_words(value)}", _retype((wanted,), value))
    elif error.validator == "enum":
        shown = f'"{value}"' if isinstance(value, str) else in_words(value)
        choices = [choice for choice in wanted if choice is not None]
        yield Finding(path, f"{shown} is not a choice", words.suggest(str(value), choices))
    elif error.validator in {"minimum", "maximum"}:
        holder = error.schema if isinstance(error.schema, Mapping) else {}
        least, most = holder.get("minimum"), holder.get("maximum")
        within = f"write {least} to {most}" if most is not None else f"write {least} or more"
        yield Finding(path, f"{value} is out of range", within)
    else:
        yield Finding(path, error.message, "see: otobotctl manifest schema")


def _any_of(error: ValidationError) -> Iterator[Finding]:
    """Explain the branch that was meant: the one whose type fits."""
    branches: dict[Any, list[ValidationError]] = {}
    for inner in error.context or ():
        branches.setdefault(inner.schema_path[0], []).append(inner)
    meant = [found for found in branches.values() if not any(_is_type(inner) for inner in found)]
    if meant:
        for inner in meant[0]:
            yield from _explain(inner)
        return
    path: Path = tuple(error.absolute_path)
    types = list(dict.fromkeys(str(found[0].validator_value) for found in branches.values()))
    named = [_TYPES.get(name, name) for name in types if name != "null"]
    yield Finding(path, f"expected {_either(named)}, found {in_words(error.instance)}", _retype(types, error.instance))


def _is_type(error: ValidationError) -> bool:
    return error.validator == "type" and not error.relative_path


def _either(names: Iterable[str]) -> str:
    *first, last = names
    return f"{', '.join(first)} or {last}" if first else last


def _retype(wanted: Iterable[str], value: Any) -> str:
    kinds = set(wanted) - {"null"}
    if kinds == {"string"} and isinstance(value, int | float) and not isinstance(value, bool):
        return f'put it in quotes: "{value}"'
    if isinstance(value, str) and kinds <= {"integer", "number", "boolean"}:
        return "take the quotes away"
    if kinds == {"array"} and isinstance(value, str):
        return f'put it in brackets: ["{value}"]'
    if value is None:
        return "leave the key out"
    return f"write {_either(sorted(_TYPES[kind] for kind in kinds))} there" if kinds else "leave the key out"


def _unknown_keys(path: Path, value: Mapping[str, Any], schema: Any) -> Iterator[Finding]:
    known = list(schema["properties"])
    for name in value:
        if name not in known:
            yield Finding((*path, name), f'unknown key "{name}"', words.suggest(name, known))


def _missing(path: Path, value: Mapping[str, Any], wanted: Iterable[str], error: ValidationError) -> Iterator[Finding]:
    # jsonschema reports each missing key by itself, but with the whole list.
    name = next(name for name in wanted if name not in value and error.message.startswith(repr(name)))
    described = error.schema["properties"][name].get("description", "") if isinstance(error.schema, Mapping) else ""
    yield Finding((*path, name), "is missing", f"write it ({described.rstrip('.')})" if described else "write it")
