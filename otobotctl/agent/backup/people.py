"""One person of a vault, taken out of a restored database and merged into the live one; and who may not come back."""

from __future__ import annotations

import re
from typing import Dict, List, Sequence, Set

from otobotctl.agent.backup import erasures
from otobotctl.agent.backup.course import Item
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.postgres import Postgres, identifier, literal
from otobotctl.agent.dumps import ADMIN

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STAY = ("credential_access_logs", "erasures", "audit_streams")  # an erasure leaves the ids in these
# Sessions and half-made connections are over; the audit is never written by anybody but the vault.
_OVER = ("client_sessions", "oauth_states", "oauth_tickets")
_SCHEMA = "restored_person"
_TABLES = """SELECT DISTINCT c.relname FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid
WHERE f.contype = 'f' AND f.confrelid = 'vault.users'::regclass ORDER BY 1;"""
_COLUMNS = """SELECT attname FROM pg_attribute WHERE attrelid = {}::regclass AND attnum > 0 AND NOT attisdropped
AND attgenerated = '' ORDER BY attnum;"""
_KEYS = """SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = ANY (i.indkey)
WHERE i.indrelid = {}::regclass AND i.indisprimary;"""
_VERSIONS = """SELECT DISTINCT split_part(sealed, ':', 1) FROM (
SELECT unnest(ARRAY[encrypted_access_token, encrypted_refresh_token, encrypted_api_key, encrypted_next_refresh_token])
    FROM vault.client_connections WHERE user_id = {0}
UNION ALL SELECT mfa_secret FROM vault.users WHERE id = {0}) AS every (sealed) WHERE sealed IS NOT NULL;"""


def forget(server: Postgres, live: str, beside: str, table: str, known: erasures.Known) -> int:
    """Delete a table's rows of people who were erased since, in the database beside; return how many. RestoreError."""
    schema, _, plain = table.partition(".")
    if schema != "vault" or plain in _STAY:
        return 0
    people = sorted({each.user for each in _erased(server, live, known)})
    columns = server.sql(_COLUMNS.format(literal(table)), beside).splitlines()
    column = "user_id" if "user_id" in columns else "id" if plain == "users" else ""
    if not people or not column:
        return 0
    text = "WITH gone AS (DELETE FROM {} WHERE {} IN ({}) RETURNING 1) SELECT count(*) FROM gone;"
    where = "{}.{}".format(schema, identifier(plain))
    return int(server.sql(text.format(where, column, ", ".join(map(literal, people))), beside))


def _erased(server: Postgres, live: str, known: erasures.Known) -> Set[erasures.Erased]:
    return {*known.elsewhere(live), *erasures.read(server, live)}


def merge(hands: Hands, server: Postgres, item: Item, who: str, known: erasures.Known) -> Dict[str, int]:
    """Merge a person (an id or an address) into the live vault, in one transaction; return the rows of each table.

    Raises RestoreError: nothing was changed.
    """
    person = _find(server, item.beside, who)
    if person in {each.user for each in _erased(server, item.name, known)}:
        raise RestoreError("{} was erased, and an erasure is never undone".format(person))
    _keys_fit(server, item, person)
    _address_free(server, item, person)
    names = ["users", *(name for name in server.sql(_TABLES, item.name).splitlines() if name not in _OVER)]
    names = [name for name in names if name not in _STAY]
    server.sql(_taken(names, person), item.beside)
    words = ("pg_dump", "--username=" + ADMIN, "--no-password", "--format=plain", "--schema=" + _SCHEMA)
    argv = hands.project.inside(item.service, *words, "--dbname=" + item.beside)
    dump = hands.tell(argv, "", "pg_dump of one person")
    steps = [step for name in names for step in _steps(server, item, name)]
    counts = ["SELECT {0} || ' ' || count(*) FROM {1}.{2};".format(literal(name), _SCHEMA, identifier(name)) for name in names]  # fmt: skip # noqa: E501
    script = "\n".join(["BEGIN;", dump, "\\o", *steps, *counts, "DROP SCHEMA {} CASCADE;".format(_SCHEMA), "COMMIT;"])
    said = server.sql(script, item.name).splitlines()
    return {"vault." + name: int(count) for name, count in (line.split(" ") for line in said[-len(names) :])}


def _find(server: Postgres, database: str, who: str) -> str:
    """The id of a person in a restored vault. Raises RestoreError: nobody, somebody erased, or several."""
    column, value = ("id::text", who.lower()) if _UUID.fullmatch(who.lower()) else ("lower(email)", who.lower())
    text = "SELECT id, erased_at IS NOT NULL FROM vault.users WHERE {} = {};".format(column, literal(value))
    found = [line.split("|") for line in server.sql(text, database).splitlines()]
    if len(found) != 1:
        raise RestoreError("this archive has {} people who are {}".format(len(found) or "no", who))
    if found[0][1] == "t":
        raise RestoreError("{} was erased before this archive was made".format(who))
    return found[0][0]


def _keys_fit(server: Postgres, item: Item, person: str) -> None:
    """Whether the live vault still has the keys that this person's values are sealed under. Raises RestoreError."""
    needed = set(server.sql(_VERSIONS.format(literal(person)), item.beside).splitlines())
    known = "SELECT version FROM vault.encryption_keys WHERE retired_at IS NULL;"
    gone = sorted(needed - set(server.sql(known, item.name).splitlines()))
    if gone:
        text = "what {} had stored is sealed under the vault's key version {}, which has been retired since"
        raise RestoreError(text.format(person, ", ".join(gone)))


def _address_free(server: Postgres, item: Item, person: str) -> None:
    text = "SELECT lower(email) FROM vault.users WHERE id = {};".format(literal(person))
    address = server.sql(text, item.beside)
    other = "SELECT id FROM vault.users WHERE lower(email) = {} AND id <> {};".format(literal(address), literal(person))
    found = server.sql(other, item.name)
    if found:
        raise RestoreError("{} is the address of somebody else now: {}".format(address, found))


def _taken(names: Sequence[str], person: str) -> str:
    """The statements that put one person's rows into a schema of their own."""
    lines = ["CREATE SCHEMA {};".format(_SCHEMA)]
    for name in names:
        column = "id" if name == "users" else "user_id"
        text = "CREATE TABLE {0}.{1} AS SELECT * FROM vault.{1} WHERE {2} = {3};"
        lines.append(text.format(_SCHEMA, identifier(name), column, literal(person)))
    return "\n".join(lines)


def _steps(server: Postgres, item: Item, name: str) -> List[str]:
    """The statements that merge one table: what the archive says wins, what it does not know stays."""
    live, taken = "vault." + identifier(name), "{}.{}".format(_SCHEMA, identifier(name))
    both = set(server.sql(_COLUMNS.format(literal(live)), item.name).splitlines())
    columns = [each for each in server.sql(_COLUMNS.format(literal(live)), item.beside).splitlines() if each in both]
    keys = server.sql(_KEYS.format(literal(live)), item.name).splitlines()
    listed = ", ".join(map(identifier, columns))
    steps = []
    if name == "client_connections":
        # A newer connection to the same service stays the one in use, and an application that is gone is not named.
        steps.append(
            "DELETE FROM {0} r WHERE r.is_active AND EXISTS (SELECT FROM {1} l WHERE l.client_id = r.client_id "
            "AND l.user_id = r.user_id AND l.service_code = r.service_code AND l.is_active AND l.id <> r.id);".format(
                taken, live
            )
        )
        steps.append(
            "UPDATE {0} r SET oauth_app_id = NULL WHERE NOT EXISTS (SELECT FROM vault.oauth_applications a "
            "WHERE a.client_id = r.client_id AND a.id = r.oauth_app_id);".format(taken)
        )
    insert = "INSERT INTO {0} ({1}) OVERRIDING SYSTEM VALUE SELECT {1} FROM {2}".format(live, listed, taken)
    others = [each for each in columns if each not in keys]
    if not keys:
        steps.append("{} EXCEPT SELECT {} FROM {};".format(insert, listed, live))
    elif not others:
        steps.append(insert + " ON CONFLICT DO NOTHING;")
    else:
        change = ", ".join("{0} = excluded.{0}".format(identifier(each)) for each in others)
        steps.append("{} ON CONFLICT ({}) DO UPDATE SET {};".format(insert, ", ".join(map(identifier, keys)), change))
    return steps
