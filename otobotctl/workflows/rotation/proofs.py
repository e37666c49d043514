"""Whether a value is accepted by the live system: asked there, with the value on stdin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from otobotctl.errors import StepFailedError
from otobotctl.render.engine import SECOND

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otobotctl.converge.inside import Place
    from otobotctl.render.catalog import Catalog
    from otobotctl.secrets import Secret

_ACCEPTED, _REFUSED = 0, 1


@dataclass(frozen=True)
class Question:
    """A program in a service's container: it ends with 0 where the value on its stdin is accepted, with 1 where not."""

    service: str
    argv: tuple[str, ...]


def question(catalog: Catalog, services: Iterable[str], name: str, turn: int) -> Question | None:
    """Return what asks for a value of this secret; None where nothing does, as for what only signs.

    A role's password is asked for by the role's login of this turn.
    """
    chosen = [catalog.service(name) for name in services]
    for service in chosen:
        need = service.secrets.get(name)
        if need is not None and need.rotation.proof:
            return Question(need.rotation.proof.service or service.name, need.rotation.proof.argv)
        if need is not None and need.rotation.logs_in:
            return _login(catalog, service.engine, *need.rotation.logs_in)
        for database in service.databases:
            for role in (database.owner, *database.roles):
                if role.secret == name:
                    return _login(catalog, database.engine, role.name + (SECOND if turn else ""), database.name)
    return None


def _login(catalog: Catalog, engine: str, role: str, database: str) -> Question | None:
    service = next(each for each in catalog.services.values() if each.engine == engine)
    if service.login is None:
        return None
    words = tuple(word.replace("{role}", role).replace("{database}", database) for word in service.login.argv)
    return Question(service.name, words)


def accepted(place: Place, asked: Question, secret: Secret) -> bool:
    """Ask. Raises StepFailedError: there was no answer that says so, either way."""
    from dataclasses import replace

    from otobotctl.converge import inside

    said = inside.run(replace(place, service=asked.service), asked.argv, f"{secret.reveal()}\n")
    if said.status in (_ACCEPTED, _REFUSED):
        return said.status == _ACCEPTED
    message = f"{asked.service} of {place.client} does not say whether {secret.name} is valid (status {said.status})"
    raise StepFailedError(message, hint=f"otobotctl client deploy {place.client}")
