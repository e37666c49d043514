"""Less than a database: one table, or one person of a vault. Nothing is stopped; only the rows named change."""

from __future__ import annotations

import time
from typing import Any, Dict, List, NamedTuple

from otobotctl.agent.backup import erasures, people
from otobotctl.agent.backup.choosing import Chosen
from otobotctl.agent.backup.course import Course, Item
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.postgres import Postgres, identifier, literal
from otobotctl.agent.backup.shapes import Job, Part
from otobotctl.agent.dumps import ADMIN

# What is there is kept beside, and becomes what was restored, in one transaction: rows that others refer to are changed
# and never deleted and made again.
_REPLACE = """
DO $do$
DECLARE
    live regclass := {live};
    restored regclass := {restored};
    columns text;
    assigned text;
    keys text;
    same text;
BEGIN
    EXECUTE format('LOCK TABLE %s IN SHARE ROW EXCLUSIVE MODE', live);
    EXECUTE format('CREATE TABLE {kept}.%I AS TABLE %s', {table}, live);
    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum),
        string_agg(format('%1$I = excluded.%1$I', a.attname), ', ') INTO columns, assigned
        FROM pg_attribute a WHERE a.attrelid = restored AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
    SELECT string_agg(quote_ident(a.attname), ', '), string_agg(format('r.%1$I = l.%1$I', a.attname), ' AND ')
        INTO keys, same FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
        WHERE i.indrelid = live AND i.indisprimary;
    IF keys IS NULL THEN
        EXECUTE format('DELETE FROM %s', live);
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s',
            live, columns, columns, restored);
    ELSE
        EXECUTE format('DELETE FROM %s l WHERE NOT EXISTS (SELECT FROM %s r WHERE %s)', live, restored, same);
        EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s '
            'ON CONFLICT (%s) DO UPDATE SET %s', live, columns, columns, restored, keys, assigned);
    END IF;
END $do$;
"""


class Here(NamedTuple):
    """What a partial restore works with."""

    job: Job
    hands: Hands
    course: Course
    chosen: Chosen
    known: erasures.Known


def table(here: Here, asked: Dict[str, Any]) -> Dict[str, Any]:
    """Restore one table beside the live one, or, to `replace`, in its place. Raises RestoreError: nothing changed."""
    begun, (_, hands, course, chosen, known) = time.time(), here
    name, item, part = _table(here.job, chosen, asked)
    schema, _, plain = name.partition(".")
    server = Postgres(hands, item.service)
    mark = _mark(chosen)
    beside, kept = "restored_" + mark, "before_" + mark
    _free(server, item.name, beside, plain, replace=asked["replace"])
    course.begin(chosen.archive["id"], mark, [item])
    try:
        server.make(item.beside, item.name)
        server.fill(item.beside, chosen.stream(part), "--section=pre-data", partly=True)
        only = ("--data-only", "--schema=" + schema, "--table=" + plain)
        server.fill(item.beside, chosen.stream(part), *only, partly=True)
        count = int(server.sql("SELECT count(*) FROM {};".format(_quoted(name)), item.beside))
        if count != (part["rows"] or {}).get(name, count):
            raise RestoreError("{} has {} rows and the archive says {}".format(name, count, part["rows"]))
        gone = people.forget(server, item.name, item.beside, name, known)
        script = "CREATE SCHEMA {0} AUTHORIZATION {1}; ALTER TABLE {2} SET SCHEMA {0};"
        server.sql(script.format(beside, identifier(server.owner(item.name)), _quoted(name)), item.beside)
        _carry(hands, server, item, beside)
        where = "{}.{}".format(beside, plain)
        if asked["replace"]:
            server.sql(_replacement(name, plain, beside, kept), item.name)
            where = name
            hands.say("{} was replaced; what it held before is in {}.{}".format(name, kept, plain))
    finally:
        server.drop([item.beside])
        course.end()
    return _done(chosen, begun, [where], {item.name: {name: count - gone}})


def user(here: Here, asked: Dict[str, Any]) -> Dict[str, Any]:
    """Merge what an archive has of one person of the vault into the live one. Raises RestoreError: nothing changed."""
    begun, (_, hands, course, chosen, known) = time.time(), here
    item, part = _vault(here.job, hands, chosen)
    server = Postgres(hands, item.service)
    course.begin(chosen.archive["id"], _mark(chosen), [item])
    try:
        server.make(item.beside, item.name)
        server.fill(item.beside, chosen.stream(part))
        rows = people.merge(hands, server, item, asked["user"], known)
    finally:
        server.drop([item.beside])
        course.end()
    return _done(chosen, begun, sorted(rows), {item.name: rows})


def _done(chosen: Chosen, begun: float, what: List[str], rows: Dict[str, Dict[str, int]]) -> Dict[str, Any]:
    now, archive = time.time(), chosen.archive
    return {
        "id": archive["id"], "target": chosen.target, "at": round(now, 3), "made": archive["made"],
        "took_s": round(now - begun, 3), "lost_s": round(begun - archive["made"], 3), "what": what, "rows": rows,
        "safety": "", "erased": 0, "proofs": [],
    }  # fmt: skip


def _mark(chosen: Chosen) -> str:
    return chosen.archive["id"].lower().replace("-", "_")


def _quoted(name: str) -> str:
    schema, _, plain = name.partition(".")
    return "{}.{}".format(identifier(schema), identifier(plain))


def _table(job: Job, chosen: Chosen, asked: Dict[str, Any]) -> "tuple[str, Item, Part]":
    """The table's full name, its database and that one's part. Raises RestoreError: none, or several."""
    wanted = asked["table"] if "." in asked["table"] else "public." + asked["table"]
    found = []
    for source in job["sources"]:
        part = chosen.part("/databases/{}.dump".format(source["name"]))
        if source["kind"] != "postgres" or part is None or asked["database"] not in ("", source["name"]):
            continue
        if wanted in (part["rows"] or {}):
            found.append((wanted, Item("postgres", source["name"], source["service"], _mark(chosen)), part))
    if len(found) != 1:
        names = ", ".join(each[1].name for each in found)
        raise RestoreError(
            "{} is in several databases ({}); name one".format(wanted, names)
            if found
            else "there is no table {} in archive {}".format(wanted, chosen.archive["id"])
        )
    return found[0]


def _vault(job: Job, hands: Hands, chosen: Chosen) -> "tuple[Item, Part]":
    for source in job["sources"]:
        part = chosen.part("/databases/{}.dump".format(source["name"]))
        if source["kind"] == "postgres" and part is not None:
            server = Postgres(hands, source["service"])
            if source["name"] in server.databases() and erasures.there(server, source["name"]):
                return Item("postgres", source["name"], source["service"], _mark(chosen)), part
    raise RestoreError("neither this client nor the archive has a vault with people in it")


def _free(server: Postgres, database: str, beside: str, plain: str, *, replace: bool) -> None:
    """See that the schema beside can be made. Raises RestoreError: an earlier restore's is there."""
    there = server.sql("SELECT to_regnamespace({}) IS NOT NULL;".format(literal(beside)), database) == "t"
    if there and replace:
        server.sql("DROP SCHEMA {} CASCADE;".format(beside), database)
    elif there:
        text = "the schema {0} is in {1} already; look at {0}.{2} there, and drop it to restore it again"
        raise RestoreError(text.format(beside, database, plain))


def _carry(hands: Hands, server: Postgres, item: Item, schema: str) -> None:
    """Copy a schema from the database beside into the live one, whole or not at all. Raises RestoreError."""
    words = ("pg_dump", "--username=" + ADMIN, "--no-password", "--format=custom", "--compress=0")
    argv = hands.project.inside(item.service, *words, "--schema=" + schema, "--dbname=" + item.beside)
    server.fill(item.name, hands.source(argv), "--single-transaction")


def _replacement(name: str, plain: str, beside: str, kept: str) -> str:
    body = _REPLACE.format(
        live=literal(_quoted(name)), restored=literal("{}.{}".format(beside, identifier(plain))), kept=kept,
        table=literal(plain),
    )  # fmt: skip
    before = "BEGIN; DROP SCHEMA IF EXISTS {0} CASCADE; CREATE SCHEMA {0};".format(kept)
    return "{}\n{}\nDROP SCHEMA {} CASCADE; COMMIT;".format(before, body, beside)
