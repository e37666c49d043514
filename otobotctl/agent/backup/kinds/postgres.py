"""A database of PostgreSQL: filled under another name; all of a server's take their names in one transaction."""

from __future__ import annotations

from typing import Dict, Iterator, List, Sequence, Tuple

from otobotctl.agent.backup import erasures
from otobotctl.agent.backup.choosing import Chosen
from otobotctl.agent.backup.course import Item
from otobotctl.agent.backup.hands import RestoreError
from otobotctl.agent.backup.kinds.kind import Around, Kind
from otobotctl.agent.backup.postgres import Postgres
from otobotctl.agent.backup.shapes import Part

_ROLES = "/databases/roles.sql"


class Database(Kind):
    """See Kind."""

    PARTS = ("/databases/{}.dump",)
    GROWS = 2.0  # indexes, and the log that writing it makes until the next checkpoint
    SERVED = True

    def __init__(self, around: Around, item: Item) -> None:
        super().__init__(around, item)
        self._server = Postgres(around.hands, item.service)

    def room(self) -> int:
        """As much as the live one has, where that is more."""
        return max(super().room(), self._server.size(self.item.name))

    @classmethod
    def prepare(cls, mine: Sequence[Database]) -> None:
        """The roles that its databases belong to, on each server."""
        chosen = mine[0].chosen
        roles = chosen.part(_ROLES)
        if roles:
            for server, _ in _servers(mine):
                server.roles(_text(chosen, roles))

    def fill(self) -> Dict[str, int]:
        """Its rows are those of the archive."""
        self._server.make(self.item.beside, self.item.name)
        self._server.fill(self.item.beside, self.stream())
        expected = self.part["rows"] or {}
        rows = self._server.rows(self.item.beside)
        for table, count in sorted(expected.items()):
            if rows.get(table) != count:
                text = "{}: {} has {} rows and the archive says {}"
                raise RestoreError(text.format(self.item.name, table, rows.get(table, "no"), count))
        return {table: rows[table] for table in expected}

    def erase(self, known: erasures.Known) -> int:
        """Only a vault's has anybody to erase."""
        return erasures.carry(self._server, self.item.name, self.item.beside, known)

    def vaults(self) -> List[str]:
        """Itself."""
        return [self.item.name]

    @classmethod
    def exchange_all(cls, mine: Sequence[Database]) -> None:
        """Of one server all or none."""
        for server, items in _servers(mine):
            away = [(item.name, item.before) for item in items]
            server.exchange(away + [(item.beside, item.name) for item in items])

    @classmethod
    def back_all(cls, mine: Sequence[Database]) -> None:
        """Of one server all or none."""
        for server, items in _servers(mine):
            there = set(server.databases())
            kept = [item for item in items if item.before in there]
            away = [(item.name, item.beside) for item in kept]
            server.exchange(away + [(item.before, item.name) for item in kept])

    def drop(self, *, former: bool) -> None:
        """Whoever is logged into it is logged out."""
        self._server.drop((self.item.beside, self.item.before) if former else (self.item.beside,))


def _servers(mine: Sequence[Database]) -> Iterator[Tuple[Postgres, List[Item]]]:
    for service in sorted({each.item.service for each in mine}):
        items = [each.item for each in mine if each.item.service == service]
        yield Postgres(mine[0].around.hands, service), items


def _text(chosen: Chosen, part: Part) -> str:
    with chosen.stream(part) as process:
        said, errors = process.communicate()
    if process.returncode:
        raise RestoreError("{} cannot be read: {}".format(part["name"], errors.decode("utf-8", "replace")[-300:]))
    return said.decode("utf-8", "replace")
