"""Databases of one PostgreSQL beside each other: made, filled, counted, exchanged by their names, dropped."""

from __future__ import annotations

import re
import subprocess
import time
from typing import Dict, List, Sequence

from otobotctl.agent.backup import moment
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.dumps import ADMIN

_TRIES = 20
_ROLE = re.compile(r"^CREATE ROLE (\"?[A-Za-z_][A-Za-z0-9_]*\"?);$", re.MULTILINE)


def identifier(name: str) -> str:
    """A name as SQL takes it."""
    return '"{}"'.format(name.replace('"', '""'))


def literal(text: str) -> str:
    """A text as SQL takes it."""
    return "'{}'".format(text.replace("'", "''"))


class Postgres:
    """The server of one service of the project. Every method raises RestoreError."""

    def __init__(self, hands: Hands, service: str) -> None:
        self._hands = hands
        self._service = service

    def sql(self, script: str, database: str = "postgres") -> str:
        """Run a script; return what it printed, without its last newline."""
        return self._hands.sql(self._service, script, database).rstrip("\n")

    def databases(self) -> List[str]:
        """Every database's name."""
        return self.sql("SELECT datname FROM pg_database;").splitlines()

    def size(self, name: str) -> int:
        """The bytes of a database; 0 where there is none."""
        text = "SELECT coalesce((SELECT pg_database_size(oid) FROM pg_database WHERE datname = {}), 0);"
        return int(self.sql(text.format(literal(name))))

    def owner(self, name: str) -> str:
        """Whose a database is."""
        text = "SELECT pg_get_userbyid(datdba) FROM pg_database WHERE datname = {};"
        return self.sql(text.format(literal(name)))

    def make(self, name: str, like: str) -> None:
        """Make an empty database, owned and encoded as `like` is, where there is one; what had that name goes."""
        found = self.sql(
            "SELECT pg_get_userbyid(datdba), pg_encoding_to_char(encoding), datcollate, datctype FROM pg_database "
            "WHERE datname = {};".format(literal(like))
        )
        how = ""
        if found:
            owner, encoding, collate, ctype = found.split("|")
            how = " OWNER {} ENCODING {} LC_COLLATE {} LC_CTYPE {}".format(
                identifier(owner), literal(encoding), literal(collate), literal(ctype)
            )
        self.drop([name])
        self.sql("CREATE DATABASE {}{} TEMPLATE template0;".format(identifier(name), how))

    def roles(self, text: str) -> None:
        """Make the roles that a dump of roles names and that are not there; none of them may log in."""
        there = set(self.sql("SELECT rolname FROM pg_roles;").splitlines())
        names = [name.strip('"') for name in _ROLE.findall(text)]
        for name in names:
            if name not in there:
                self._hands.say("the role {} is made, which the archive names and this server lacks".format(name))
                self.sql("CREATE ROLE {} NOLOGIN;".format(identifier(name)))

    def fill(self, name: str, stream: "subprocess.Popen[bytes]", *words: str, partly: bool = False) -> None:
        """Restore a dump into a database, up to its first error."""
        how = ("pg_restore", "--username=" + ADMIN, "--no-password", "--exit-on-error", *words, "--dbname=" + name)
        self._hands.flow(stream, self._hands.project.inside(self._service, *how), name, partly=partly)

    def rows(self, name: str) -> Dict[str, int]:
        """The exact rows of each table ("schema.table")."""
        return moment.counted(self.sql(moment.COUNT, name).splitlines())

    def exchange(self, pairs: Sequence["tuple[str, str]"]) -> None:
        """Rename databases, first to second, all in one transaction; whoever is logged into one is logged out.

        A pair whose first is not there is left out.
        """
        there = set(self.databases())
        todo = []
        for before, after in pairs:
            if before in there:
                todo.append((before, after))
                there.remove(before)
                there.add(after)
        if not todo:
            return
        names = ", ".join(sorted({literal(name) for pair in todo for name in pair}))
        leave = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname IN ({});".format(names)
        moves = ["ALTER DATABASE {} RENAME TO {};".format(identifier(old), identifier(new)) for old, new in todo]
        script = "\n".join([leave, "BEGIN;", *moves, "COMMIT;"])
        for attempt in range(_TRIES):
            try:
                self.sql(script)
            except RestoreError as error:
                if "being accessed" not in str(error) or attempt == _TRIES - 1:
                    raise
                time.sleep(0.5)
            else:
                return

    def drop(self, names: Sequence[str]) -> None:
        """Drop databases; those that are not there are fine."""
        for name in names:
            # FORCE: somebody's tunnel may look at what is about to go.
            self.sql("DROP DATABASE IF EXISTS {} WITH (FORCE);".format(identifier(name)))
