"""A client full of data, a program that goes on writing, and a record of both that is kept outside the host."""

from __future__ import annotations

import hashlib
import json
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Self
from uuid import UUID, uuid5

from otobotctl.vault_api.crypto import Keyring, Place
from tests.lab.host import Host

NAMESPACE = UUID("6f3c1f1e-0000-4000-8000-000000000007")
SERVICES = ("google", "microsoft", "notion", "slack", "linkedin", "openai", "anthropic", "ia-interne")
_USERS = "COPY vault.users (client_id, id, email, name) FROM STDIN;\n"
_CONNECTIONS = (
    "COPY vault.client_connections (client_id, id, user_id, service_code, account_identifier, encrypted_api_key)"
    " FROM STDIN;\n"
)


class Filler:
    """Makes rows of the vault's tables with the vault's own encryption, and records each: what, and committed when.

    A line of the record is JSON: `at` (Unix seconds at which the commit was known here), `writer`, `user`, `email`, `service`,
    `connection`, `sealed` (the SHA-256 of the stored text) and `plain` (the SHA-256 of the credential).
    """

    def __init__(self, host: Host, slug: str, master_key: str, record: Path) -> None:
        self._host, self._slug, self.record = host, slug, record
        self._ring = Keyring({1: bytes.fromhex(master_key)}, 1, allowance=10**7)
        self.client = psql(host, f"SELECT id FROM vault.clients WHERE slug = '{slug}'")

    def fill(self, connections: int) -> None:
        """Store that many connections at once, eight a user."""
        users = [
            (str(uuid5(NAMESPACE, f"user {n}")), f"user{n}@acme.example") for n in range(connections // len(SERVICES))
        ]
        made = [self._made(user, email, service) for user, email in users for service in SERVICES]
        text = [_USERS, *(f"{self.client}\t{user}\t{email}\tUser\n" for user, email in users), "\\.\n", _CONNECTIONS]
        text += [
            f"{self.client}\t{row['connection']}\t{row['user']}\t{row['service']}\tx\t{sealed}\n"
            for row, sealed in made
        ]
        # Without foreign keys' triggers: what refers to what is right by itself here, and they took most of the time.
        psql(self._host, "SET session_replication_role = replica;\nBEGIN;\n" + "".join(text) + "\\.\nCOMMIT;\n")
        self._note("fill", [row for row, _ in made])

    def workflows(self, count: int) -> dict[str, str]:
        """Store that many of n8n's workflows; return the SHA-256 of each one's name and nodes, by its id."""
        made = {f"proof{n}": (f"Relance {n}", _nodes(n)) for n in range(count)}
        into = 'workflow_entity (id, name, active, nodes, connections, settings, "versionId")'
        rows = [f"{ident}\t{name}\tf\t{nodes}\t{{}}\t{{}}\t{ident}\n" for ident, (name, nodes) in made.items()]
        psql(self._host, f"COPY {into} FROM STDIN;\n" + "".join(rows) + "\\.\n", "otobot_n8n")
        return {ident: hashlib.sha256("|".join(each).encode()).hexdigest() for ident, each in made.items()}

    def _made(self, user: str, email: str, service: str) -> tuple[dict[str, str], str]:
        connection = str(uuid5(NAMESPACE, f"{user} {service}"))
        plain = hashlib.sha256(connection.encode()).hexdigest() * 4
        sealed = self._ring.seal(plain, Place(self._slug, user, service, connection, "encrypted_api_key"))
        row = {"user": user, "email": email, "service": service, "connection": connection}
        row |= {
            "sealed": hashlib.sha256(sealed.encode()).hexdigest(),
            "plain": hashlib.sha256(plain.encode()).hexdigest(),
        }
        return row, sealed

    def _note(self, writer: str, rows: list[dict[str, str]]) -> None:
        at = time.time()
        with self.record.open("a") as file:
            file.writelines(json.dumps({"at": at, "writer": writer, **row}) + "\n" for row in rows)

    def write(self, name: str) -> Writing:
        """Go on writing, a user with one connection a transaction, until the block ends."""
        return Writing(self, self._host, name)

    def transactions(self, name: str) -> Iterator[tuple[dict[str, str], str]]:
        """Without end: what to record, and the statement that stores it."""
        number = 0
        while True:
            number += 1
            user, email = str(uuid5(NAMESPACE, f"{name} {number}")), f"{name}{number}@acme.example"
            row, sealed = self._made(user, email, "openai")
            into = f"'{self.client}', '{row['connection']}', '{user}', 'openai', 'x', '{sealed}'"
            yield (
                row,
                (
                    f"WITH u AS (INSERT INTO vault.users (client_id, id, email, name)"
                    f" VALUES ('{self.client}', '{user}', '{email}', 'User'))"
                    " INSERT INTO vault.client_connections (client_id, id, user_id, service_code, account_identifier,"
                    f" encrypted_api_key) VALUES ({into}) RETURNING 'committed';\n"
                ),
            )

    def committed(self, writer: str, row: dict[str, str]) -> None:
        """Record a row that the database has said is committed."""
        self._note(writer, [row])


def _nodes(number: int) -> str:
    """The nodes of a workflow, as the text that is stored."""
    node = {"id": f"n{number}", "name": "Début", "type": "n8n-nodes-base.manualTrigger", "typeVersion": 1}
    return json.dumps([{**node, "position": [0, number], "parameters": {}}], ensure_ascii=False)


class Writing:
    """A session of psql that commits row after row. `count` is how many were; a session that breaks ends it."""

    def __init__(self, filler: Filler, host: Host, name: str) -> None:
        self._filler, self._host, self._name = filler, host, name
        self.count = 0

    def __enter__(self) -> Self:
        self._end = threading.Event()
        self._session = subprocess.Popen(
            psql_argv(self._host), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(60)
        self._session.kill()
        self._session.communicate()

    def _run(self) -> None:
        said, told = self._session.stdin, self._session.stdout
        assert said is not None
        assert told is not None
        for row, statement in self._filler.transactions(self._name):
            if self._end.is_set() or not _commit(said, told, statement):
                return
            self._filler.committed(self._name, row)
            self.count += 1
            self._end.wait(0.02)


def _commit(said: IO[str], told: IO[str], statement: str) -> bool:
    """Whether psql said that it is committed: it prints a result once the server is ready for the next statement."""
    try:
        said.write(statement)
        said.flush()
        return told.readline().strip() == "committed"
    except (OSError, ValueError):
        return False


def psql_argv(host: Host, client: str = "acme", database: str = "otobot_frontend") -> list[str]:
    """The command line of a psql in the client's container, as the superuser."""
    words = f"docker exec --interactive otobot-{client}-postgres-1 psql --username=otobot_admin --no-psqlrc"
    return [*host.ssh_argv(user="root"), f"{words} -v ON_ERROR_STOP=1 --quiet -At --dbname={database}"]


def psql(host: Host, sql: str, database: str = "otobot_frontend") -> str:
    """What it says."""
    argv = psql_argv(host, database=database)
    done = subprocess.run(argv, input=sql, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()
