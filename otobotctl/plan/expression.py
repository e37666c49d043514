"""Jinja in playbooks: a leaf that is exactly one `{{ expression }}` keeps its type, other strings become text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from otobotctl.errors import ManifestError

if TYPE_CHECKING:
    from jinja2 import Environment, Template
    from jinja2.environment import TemplateExpression

_WHOLE = re.compile(r"\s*\{\{((?:(?!\}\}).)*)\}\}\s*", re.DOTALL)


def fill(value: Any, variables: Mapping[str, Any]) -> Any:
    """Return `value` with every string in it filled in, keys as they are. Raises ManifestError naming the place."""
    return _fill(value, variables, "")


def holds(condition: Any, variables: Mapping[str, Any]) -> bool:
    """Return whether an expression (written without braces) is true. Raises ManifestError."""
    if isinstance(condition, bool):
        return condition
    return bool(_evaluate(str(condition), variables, ""))


def _fill(value: Any, variables: Mapping[str, Any], where: str) -> Any:
    if isinstance(value, str):
        whole = _WHOLE.fullmatch(value)
        return _evaluate(whole[1], variables, where) if whole else _text(value, variables, where)
    if isinstance(value, dict):
        return {key: _fill(inner, variables, f"{where}.{key}".lstrip(".")) for key, inner in value.items()}
    if isinstance(value, list):
        return [_fill(inner, variables, f"{where}[{place}]") for place, inner in enumerate(value)]
    return value


def _evaluate(expression: str, variables: Mapping[str, Any], where: str) -> Any:
    from jinja2 import StrictUndefined

    try:
        found = _compiled(expression)(variables)
        if isinstance(found, StrictUndefined):
            str(found)  # raises, and says what is undefined
    except _errors() as error:
        raise _wrong(error, expression, where) from error
    return found


def _text(text: str, variables: Mapping[str, Any], where: str) -> str:
    if "{{" not in text and "{%" not in text and "{#" not in text:
        return text
    try:
        return _template(text).render(variables)
    except _errors() as error:
        raise _wrong(error, text, where) from error


def _errors() -> tuple[type[Exception], ...]:
    from jinja2 import TemplateError

    return (TemplateError, TypeError, ValueError, ArithmeticError)


def _wrong(error: Exception, text: str, where: str) -> ManifestError:
    place = f"{where}: " if where else ""
    return ManifestError(f"{place}{' '.join(text.split())}: {getattr(error, 'message', None) or error}")


@cache  # a playbook's expressions are the same for every host
def _compiled(expression: str) -> TemplateExpression:
    return _environment().compile_expression(expression, undefined_to_none=False)


@cache
def _template(text: str) -> Template:
    return _environment().from_string(text)


@cache
def _environment() -> Environment:
    from jinja2 import Environment, StrictUndefined

    return Environment(undefined=StrictUndefined, autoescape=False, keep_trailing_newline=True)  # noqa: S701 - no HTML
