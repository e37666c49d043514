"""Jinja as this room uses it: strict, without escaping, and with secrets that only an environment file may print."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from otobotctl.errors import ManifestError
from otobotctl.secrets import previous

if TYPE_CHECKING:
    from jinja2 import Environment

    from otobotctl.render.catalog import Catalog
    from otobotctl.secrets import Secret

SECOND = "_2"  # after a database role's name: the other one of its two logins
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=~^-]+")


class SecretView(Mapping[str, str]):
    """The secrets that one service may use, for its environment file. Printing the view itself shows names only.

    An `optional` one that the store has no entry for is not defined; one that was revoked may be there and empty.
    """

    def __init__(
        self, secrets: Mapping[str, Secret], allowed: Collection[str], service: str, optional: Collection[str] = ()
    ) -> None:
        self._secrets = secrets
        self._allowed = frozenset(allowed)
        self._service = service
        self._optional = frozenset(optional)

    def __getitem__(self, name: str) -> str:
        if name not in self._allowed:
            raise ManifestError(
                f"templates/services/{self._service}: uses secret {name}, which its service.yaml does not name",
                hint=f"own it there under secrets, or name it under uses; named: {', '.join(sorted(self._allowed))}",
            )
        if name not in self._secrets:
            if name in self._optional:
                raise KeyError(name)
            raise ManifestError(
                f"no value for secret {name}, which {self._service} needs",
                hint="`otobotctl client deploy` mints what is missing; a secret of the kind `given` has to be told",
            )
        return self._secrets[name].reveal()

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._allowed))

    def __len__(self) -> int:
        return len(self._allowed)

    def __repr__(self) -> str:
        return f"SecretView({', '.join(self)})"

    @property
    def previous(self) -> Mapping[str, str]:
        """The values before of the secrets that are being rotated: `secrets.previous.NAME`, not defined for others."""
        return _Previous(self._secrets, self._allowed, self._service)

    @property
    def turn(self) -> Mapping[str, str]:
        """What follows the role's name in the login that has this password now: `secrets.turn.NAME`, "" or "_2"."""
        return _Turn(self._secrets, self._allowed, self._service)

    def login(self, name: str, turn: int) -> str:
        """The password of the role's login of this turn (0 or 1), "" where nobody may use that one."""
        value, kept = self[name], self._secrets.get(previous(name))
        if self._secrets[name].turn == turn:
            return value
        return kept.reveal() if kept is not None and kept.turn == turn else ""


class _Previous(SecretView):
    def __getitem__(self, name: str) -> str:
        if name in self._allowed:
            kept = self._secrets.get(previous(name))
            if kept is None or not kept.reveal():
                raise KeyError(name)
            return kept.reveal()
        return super().__getitem__(name)


class _Turn(SecretView):
    def __getitem__(self, name: str) -> str:
        super().__getitem__(name)
        return SECOND if self._secrets[name].turn else ""


class NoSecrets(SecretView):
    """What any other template gets: using a secret there is an error, so that none can leave the environment files."""

    def __init__(self, service: str) -> None:
        super().__init__({}, (), service)

    def __getitem__(self, name: str) -> str:
        raise ManifestError(
            f"templates/services/{self._service}: secret {name} is used outside an environment file",
            hint="use it in a *.env.j2, which is written with mode 0600",
        )


def render(catalog: Catalog, name: str, variables: Mapping[str, Any]) -> str:
    """Return the template `name` (a path in `catalog.sources`), rendered; it ends with one newline.

    Raises:
        ManifestError: the template is wrong, or uses what there is not; it names the template and the line.
    """
    from jinja2 import TemplateError

    try:
        text = _compiled(_frozen(catalog.sources)).get_template(name).render(variables)
    except TemplateError as error:
        line = getattr(error, "lineno", None) or _line(error)
        raise ManifestError(f"templates/services/{name}{f':{line}' if line else ''}: {error.message}") from error
    return text.rstrip("\n") + "\n"


def _frozen(sources: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple(sources.items())


@cache
def _compiled(sources: tuple[tuple[str, str], ...]) -> Environment:
    from jinja2 import DictLoader, Environment, StrictUndefined

    environment = Environment(
        loader=DictLoader(dict(sources)),
        undefined=StrictUndefined,
        autoescape=False,  # noqa: S701 - configuration, not HTML; the one page escapes by hand
        keep_trailing_newline=True,
        trim_blocks=False,
    )
    environment.filters["env"] = quote_env
    environment.filters["yaml"] = quote_yaml
    environment.filters["from_json"] = json.loads
    return environment


def _line(error: BaseException) -> int | None:
    """Return the line of the template that the error came from; Jinja gives its frames this file name."""
    trace, line = error.__traceback__, None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def quote_env(value: object) -> str:
    """Quote a value for an environment file, so that Compose reads back exactly this value."""
    text = str(value)
    if _PLAIN.fullmatch(text):
        return text
    if "'" in text or "\\" in text or not text.isprintable():
        raise ManifestError(
            "a value for an environment file has a quote, a backslash, a newline or a character that cannot be seen",
            hint="Compose cannot carry it there; choose a value without",
        )
    return f"'{text}'"


def quote_yaml(value: object) -> str:
    """Quote a value for YAML, whatever is in it."""
    return json.dumps(value, ensure_ascii=False)
