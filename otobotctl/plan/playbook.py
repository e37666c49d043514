"""A playbook, YAML that says what a host should be, to stages of typed steps. Pure but for reading the file."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from otobotctl import shapes
from otobotctl.errors import ManifestError
from otobotctl.plan import expression
from otobotctl.plan.kinds import KINDS, spec_class
from otobotctl.plan.model import Spec, Stage, Step
from otobotctl.render.document import parse_yaml

Variables = Mapping[str, Any]

_STAGE = ("name", "when", "for_each", "steps")
_STEP = ("name", "when", "for_each")


def load_playbook(path: Path, variables: Variables) -> tuple[Stage, ...]:
    """Return the stages of the playbook at `path` with `variables` filled in; those without a step are left out.

    Raises:
        ManifestError: it names the file, the stage, the step and the key.
    """
    name = f"{path.parent.name}/{path.name}"
    try:
        text = path.read_bytes()
    except OSError as error:
        raise ManifestError(f"{name}: cannot be read: {error.strerror}") from error
    return parse_playbook(text, name, variables, path.parent)


def parse_playbook(text: str | bytes, name: str, variables: Variables, beside: Path | None = None) -> tuple[Stage, ...]:
    """Return the stages of the playbook in `text`; `name` is the file's, for messages. Raises as `load_playbook`.

    An entry {include: vps, stages: [base, docker]} stands for those stages of the playbook vps.yaml in `beside`.
    """
    raw = _read(text, name)
    with _at(name):
        found = _mapping(raw, ("stages",), "a playbook")
        listed = [stage for each in _list(found, "stages") for stage in _with_included(each, beside)]
        stages = [stage for each in listed for stage in _stages(each, variables)]
        _unique("stage", (stage.name for stage in stages))
    return tuple(stages)


def _with_included(raw: Any, beside: Path | None) -> list[Any]:
    """The stages that an entry stands for: itself, or those of another playbook, as they are written there."""
    if not isinstance(raw, dict) or "include" not in raw:
        return [raw]
    entry = _mapping(raw, ("include", "stages"), "an include")
    other, names = f"{entry['include']}.yaml", _list(entry, "stages")
    with _at(f"include {entry['include']}"):
        try:
            text = b"" if beside is None else (beside / other).read_bytes()
        except OSError as error:
            raise ManifestError(f"{other}: cannot be read: {error.strerror}") from error
        there = {
            _label(each): each for each in _list(_mapping(_read(text, other), ("stages",), "a playbook"), "stages")
        }
        for name in names:
            if name not in there:
                raise ManifestError(f"{other} has no stage {name}", hint=f"it has: {', '.join(there)}")
    return [there[name] for name in names]


@lru_cache(maxsize=8)  # many hosts have the same one; nothing changes what is read
def _read(text: str | bytes, name: str) -> Any:
    return parse_yaml(text, name)


def _stages(raw: Any, variables: Variables) -> Iterator[Stage]:
    label = _label(raw)
    with _at(f"stage {label}"):
        stage = _mapping(raw, _STAGE, "a stage")
        for inner in _repeat(stage, variables):
            name = _name(stage, inner)
            with _at(name if name != label else ""):
                steps = [step for each in _list(stage, "steps") for step in _steps(each, name, inner)]
                _unique("step", (step.name for step in steps))
            if steps:
                yield Stage(name, tuple(steps))


def _steps(raw: Any, stage: str, variables: Variables) -> Iterator[Step]:
    with _at(f"step {_label(raw)}"):
        step = _mapping(raw, (*_STEP, *KINDS), "a step")
        kinds = [key for key in step if key not in _STEP]
        if len(kinds) != 1:
            said = f"has the kinds {' and '.join(kinds)}" if kinds else "has no kind"
            raise ManifestError(f"{said}; a step has exactly one", hint=f"the kinds are: {', '.join(KINDS)}")
        for inner in _repeat(step, variables):
            yield Step(f"{stage}/{_name(step, inner)}", _spec(kinds[0], step[kinds[0]], inner))


def _spec(kind: str, raw: Any, variables: Variables) -> Spec:
    with _at(kind):
        cls = spec_class(kind)
        params = _mapping(expression.fill(raw, variables), cls.__struct_encode_fields__, f"the kind {kind}")
        try:
            return shapes.convert(params, cls)
        except msgspec.ValidationError as error:  # not chained: an invalid value could be part of a secret
            raise ManifestError(str(error)) from None


def _repeat(holder: Mapping[str, Any], variables: Variables) -> Iterator[Variables]:
    """Yield the variables of each repetition that its `when` lets through; without `for_each` there is one."""
    for inner in _loop(holder.get("for_each"), variables):
        with _at("when"):
            wanted = "when" not in holder or expression.holds(holder["when"], inner)
        if wanted:
            yield inner


def _loop(raw: Any, variables: Variables) -> Iterator[Variables]:
    if raw is None:
        yield variables
        return
    with _at("for_each"):
        if not isinstance(raw, dict) or len(raw) != 1:
            raise ManifestError('must be one name and one list, like {client: "{{ clients }}"}')
        [(name, over)] = raw.items()
        items = expression.fill(over, variables)
        if not isinstance(items, list | tuple):
            raise ManifestError(f"{name} must go over a list, not over {type(items).__name__}")
        if name in variables:
            raise ManifestError(f"{name} is a variable already; choose another name")
    for item in items:
        yield {**variables, name: item}


def _mapping(raw: Any, known: Iterable[str], what: str) -> dict[str, Any]:
    if not isinstance(raw, dict):
        raise ManifestError(f"{what} must be a mapping, not {type(raw).__name__}")
    names = list(known)
    for key in raw:
        if key not in names:
            close = difflib.get_close_matches(str(key), names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"it has: {', '.join(names)}"
            raise ManifestError(f"{what} has no {key}", hint=hint)
    return raw


def _list(holder: Mapping[str, Any], key: str) -> list[Any]:
    found = holder.get(key)
    if not isinstance(found, list):
        raise ManifestError(f"{key} must be a list")
    return found


def _name(holder: Mapping[str, Any], variables: Variables) -> str:
    name = expression.fill(holder.get("name"), variables)
    if not isinstance(name, str) or not name or not name.isprintable():
        raise ManifestError("needs a name")
    return name


def _label(raw: Any) -> str:
    """What a stage or step is called in messages, before anything in it is known to be right."""
    return str(raw.get("name", "without a name")) if isinstance(raw, dict) else "without a name"


def _unique(what: str, names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise ManifestError(f"there are two of the {what} {name}", hint="give each a name of its own")
        seen.add(name)


@contextmanager
def _at(where: str) -> Iterator[None]:
    """Put `where` before the message of a ManifestError that passes."""
    try:
        yield
    except ManifestError as error:
        if not where:
            raise
        raise ManifestError(f"{where}: {error.message}", hint=error.hint, details=error.details) from error.__cause__
