"""Who was erased stays so: the ids of erased people, from wherever they are still known, go into a restored vault.

An id says of nobody who he was. The vault itself erases them again, in its migration, before it answers anybody.
"""

from __future__ import annotations

import re
from typing import Callable, List, NamedTuple, Optional, Sequence, Set

from otobotctl.agent.backup.postgres import Postgres, literal

TABLE = "vault.erasures"
_LEFT = """SELECT count(*) FROM vault.erasures e JOIN vault.users u ON u.client_id = e.client_id AND u.id = e.user_id
WHERE u.erased_at IS NULL;"""
_UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}"
_ROW = re.compile("(?P<client>{0})\t(?P<user>{0})\t(?P<at>[0-9T:.+ Z-]+)".format(_UUID))


class Erased(NamedTuple):
    """A person who was erased."""

    client: str
    user: str
    at: str


class Known(NamedTuple):
    """Erasures that are known from elsewhere than the live database; asked for a database's name, when needed."""

    elsewhere: Callable[[str], Sequence[Erased]]


def parse(text: str) -> List[Erased]:
    """Read lines of client, user and time, split by tabs, such as COPY writes them; other lines are none."""
    found = (_ROW.fullmatch(line.strip()) for line in text.splitlines())
    return [Erased(match["client"], match["user"], match["at"]) for match in found if match]


def there(server: Postgres, database: str) -> bool:
    """Whether a database is a vault's. Raises RestoreError."""
    return server.sql("SELECT to_regclass({}) IS NOT NULL;".format(literal(TABLE)), database) == "t"


def read(server: Postgres, database: str) -> List[Erased]:
    """Who was erased in a database; nobody where it is no vault's. Raises RestoreError."""
    if not there(server, database):
        return []
    return parse(server.sql("COPY (SELECT client_id, user_id, erased_at FROM {}) TO STDOUT;".format(TABLE), database))


def left(server: Postgres, database: str) -> int:
    """How many people a database names as erased and still knows; 0 where it is no vault's. Raises RestoreError."""
    if not there(server, database):
        return 0
    return int(server.sql(_LEFT, database))


def carry(server: Postgres, live: str, restored: str, known: Known, into: Optional[Postgres] = None) -> int:
    """Put into a restored vault who was erased since; return how many that are. Raises RestoreError.

    The restored one is on the server `into`, else where the live one is.
    """
    into = into or server
    if not there(into, restored):
        return 0
    found: Set[Erased] = set(known.elsewhere(live))
    if live in server.databases():
        found.update(read(server, live))
    before = {(each.client, each.user) for each in read(into, restored)}
    rows = sorted(each for each in found if (each.client, each.user) not in before)
    if not rows:
        return 0
    values = ", ".join("({}::uuid, {}::uuid, {}::timestamptz)".format(*map(literal, row)) for row in rows)
    into.sql(
        "INSERT INTO {0} (client_id, user_id, erased_at) SELECT said.* FROM (VALUES {1}) said (client, person, at) "
        "WHERE EXISTS (SELECT FROM vault.clients c WHERE c.id = said.client) ON CONFLICT DO NOTHING;".format(
            TABLE, values
        ),
        restored,
    )
    return len(rows)
