"""A session of psql that stays open: one exported snapshot, in which pg_dump reads and rows are counted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
from typing import Dict, Iterable, List, Sequence

from otobotctl.agent.dumps import DumpError, Project, psql
from otobotctl.agent.lines import canonical
from otobotctl.agent.run import environment, last_words

_END = "otobot-said-it"
_GRACE_S = 10
# Rows of every table that pg_dump copies, foreign and extensions' tables aside: one statement a table, all of them in
# the transaction of the snapshot. A partitioned table has its rows in its partitions.
COUNT = (
    "SELECT format('SELECT json_build_array(%L, count(*)) FROM ONLY %I.%I', n.nspname || '.' || c.relname,"
    " n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind = 'r' AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'"
    " AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid"
    " AND d.deptype = 'e') ORDER BY 1 \\gexec"
)


def counted(lines: Iterable[str]) -> Dict[str, int]:
    """What psql answers to COUNT: the exact rows of each table ("schema.table"). Raises ValueError."""
    return {name: int(count) for name, count in map(json.loads, lines)}


def digest(rows: Dict[str, int]) -> str:
    """Of the tables and how many rows each has."""
    return hashlib.sha256(canonical(rows).encode()).hexdigest()


def rows_of(project: Project, service: str, database: str) -> Dict[str, int]:
    """The exact rows of each table of a database ("schema.table") as it is now. Raises DumpError."""
    moment = Moment(project, service, database)
    try:
        return moment.rows()
    finally:
        moment.close()


class Moment:
    """One database at one moment, for as long as the session is open. `snapshot` is what pg_dump is told."""

    def __init__(self, project: Project, service: str, database: str) -> None:
        """Open it. Raises DumpError: the database does not answer."""
        self.database = database
        argv = project.inside(service, *psql(database))
        self._said = os.memfd_create("psql")
        try:
            self._program = subprocess.Popen(
                argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, env=environment()
            )  # fmt: skip
        except OSError as error:
            os.close(self._said)
            raise DumpError(database, "{} cannot be run: {}".format(argv[0], error.strerror)) from error
        try:
            # A client of a login role may have such limits; ours waits for as long as pg_dump reads.
            self._ask(["SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0;"])
            lines = self._ask(["BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;", "SELECT pg_export_snapshot();"])
            self.snapshot = lines[-1] if lines else self._nothing()
        except BaseException:
            self.close()
            raise

    def rows(self) -> Dict[str, int]:
        """The exact rows of each table ("schema.table") at this moment. Raises DumpError."""
        try:
            return counted(self._ask([COUNT]))
        except ValueError as error:
            raise DumpError(self.database, "psql did not say how many rows there are") from error

    def close(self) -> None:
        """End the session."""
        if self._said < 0:
            return
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self._program.stdin.close()  # psql ends with its input
        try:
            self._program.wait(_GRACE_S)
        except subprocess.TimeoutExpired:
            self._program.kill()
            self._program.wait()
        self._program.stdout.close()
        os.close(self._said)
        self._said = -1

    def _ask(self, statements: Sequence[str]) -> List[str]:
        """Say statements, and return the lines that they answer. Raises DumpError."""
        assert self._program.stdin is not None
        assert self._program.stdout is not None
        text = "\n".join([*statements, "\\echo " + _END, ""])
        try:
            self._program.stdin.write(text.encode())
            self._program.stdin.flush()
        except BrokenPipeError:
            raise self._failed() from None
        found: List[str] = []
        for line in iter(self._program.stdout.readline, b""):
            said = line.decode("utf-8", "replace").rstrip("\n")
            if said == _END:
                return found
            if said:
                found.append(said)
        raise self._failed()

    def _nothing(self) -> str:
        raise DumpError(self.database, "psql did not export a snapshot")

    def _failed(self) -> DumpError:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._program.wait(_GRACE_S)
        why = last_words(os.pread(self._said, 4096, 0), silent="psql ended without a word")
        return DumpError(self.database, "its database does not answer: {}".format(why))
