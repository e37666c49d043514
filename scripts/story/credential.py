"""Second chapter: the vault API on a PostgreSQL of its own guards one credential, as it would for n8n."""

from __future__ import annotations

import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otobotctl.vault_api import contract
from scripts.story import embedded, vault
from scripts.story.proof import Story, require

if TYPE_CHECKING:
    import psycopg

    from scripts.story.fleet import Rendered

TOKEN = "ya29.demo-access-token"
HTTP_OK, HTTP_CREATED, HTTP_UNAUTHORISED, HTTP_FORBIDDEN, HTTP_NOT_FOUND, HTTP_BROKEN = 200, 201, 401, 403, 404, 500

_EXTENSION = re.compile(r"CREATE EXTENSION IF NOT EXISTS (\w+);")
_MOVE = """
UPDATE client_connections SET encrypted_access_token =
    (SELECT encrypted_access_token FROM client_connections WHERE user_id = %s)
WHERE user_id = %s"""
_CHANGE = """
UPDATE client_connections SET encrypted_access_token = left(encrypted_access_token, -1)
    || translate(right(encrypted_access_token, 1), '0123456789abcdef', '123456789abcdef0')
WHERE user_id = %s"""
_AUDIT = "SELECT outcome, count(*) FROM credential_access_logs GROUP BY 1 ORDER BY 1"


@dataclass(frozen=True)
class Ground:
    """A vault, the database below it, and the token that opens it."""

    api: vault.Vault
    database: psycopg.Connection[tuple[Any, ...]]
    token: str
    node: str

    def ask(self, path: str, method: str = "GET", body: object = None) -> vault.Answer:
        """One request with the tokens of n8n and of its node."""
        return self.api.ask(path, method, token=self.token, node=self.node, body=body)


@contextmanager
def ground(story: Story, rendered: Rendered, directory: Path) -> Iterator[Ground]:
    """Start PostgreSQL and the vault from what was rendered for the client."""
    import psycopg

    story.chapter("The vault API on a PostgreSQL of its own")
    with ExitStack() as stack:
        with story.proof("a PostgreSQL starts") as proof:
            server = stack.enter_context(embedded.running())
            proof.evidence = f"{server.version} of {server.origin}, at {server.host}:{server.port}"
        with story.proof("the rendered init.sql applies, twice") as proof:
            for _ in range(2):
                left_out = _prepare(server, rendered)
            proof.evidence = f"roles, database, passwords{left_out}"
        environment = (
            rendered.environment("vault-migrate")
            | rendered.environment("vault-api")
            | {
                "VAULT_DATABASE_HOST": server.host,
                "VAULT_DATABASE_PORT": str(server.port),
            }
        )
        with story.proof("the vault API starts and is healthy") as proof:
            running = stack.enter_context(vault.serving(environment, directory / "vault-api.log"))
            proof.evidence = f"{running.url}{contract.HEALTH_PATH}"
        login = f"host={server.socket} port={server.port} user={embedded.SUPERUSER}"
        database = f"dbname={environment['VAULT_DATABASE_NAME']} options='-c search_path=vault'"
        connection = stack.enter_context(psycopg.connect(f"{login} {database}", autocommit=True))
        yield Ground(running, connection, environment["N8N_INTERNAL_TOKEN"], environment["N8N_NODE_TOKEN"])


def _prepare(server: embedded.Server, rendered: Rendered) -> str:
    """Run the rendered init.sql as its container does, through the socket, and say what was left out of it.

    pip's PostgreSQL brings no extensions; the vault uses none, but the rendered file may ask for some.
    """
    text = (rendered.directory / "postgres" / "init.sql").read_text(encoding="utf-8")
    lacking = [name for name in _EXTENSION.findall(text) if name not in _extensions(server)]
    for name in lacking:
        text = text.replace(f"CREATE EXTENSION IF NOT EXISTS {name};", "")
    environment = {**rendered.environment("postgres-init"), "PGHOST": str(server.socket), "PGPORT": str(server.port)}
    argv = (str(server.binaries / "psql"), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-")
    done = subprocess.run(argv, input=text, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"init.sql failed: {done.stderr.strip()[-500:]}")
    return f", without {', '.join(lacking)}, which this server lacks" if lacking else ""


def _extensions(server: embedded.Server) -> set[str]:
    import psycopg

    login = f"host={server.socket} port={server.port} dbname=postgres user={embedded.SUPERUSER}"
    with psycopg.connect(login) as connection:
        return {name for (name,) in connection.execute("SELECT name FROM pg_available_extensions")}


def tell(story: Story, ground: Ground) -> None:
    """Store, read back, tamper, move, and look at the audit."""
    lea, tom = str(uuid.uuid4()), str(uuid.uuid4())
    path = contract.credentials_path(lea, "google")
    with story.proof("a credential is stored and read back") as proof:
        for user, name in ((lea, "lea"), (tom, "tom")):
            ground.ask(contract.user_path(user), "PUT", {"email": f"{name}@acme.example", "name": name.title()})
        stored = ground.ask(path, "PUT", {"accessToken": TOKEN, "refreshToken": "1//demo", "accountIdentifier": "Léa"})
        require(stored.status == HTTP_CREATED, f"storing answered {stored.status}")
        answer = ground.ask(path)
        require(answer.status == HTTP_OK, f"reading answered {answer.status}")
        require(answer.body["credentials"] == {"accessToken": TOKEN}, "another value came back")
        proof.evidence = f"GET …/credentials/google with {contract.NODE_HEADER}, as n8n's node"
    _tell_callers(story, ground, path, tom)
    _tell_ciphertext(story, ground, path, lea, tom)
    with story.proof("every access left an audit entry") as proof:
        seen = dict(ground.database.execute(_AUDIT).fetchall())
        expected = {"created": 4, "found": 1, "missing": 1, "refused": 1, "unreadable": 2}
        require(seen == expected, f"the audit has {seen}, not {expected}")
        proof.evidence = ", ".join(f"{count} {outcome}" for outcome, count in seen.items())


def _tell_callers(story: Story, ground: Ground, path: str, tom: str) -> None:
    with story.proof("without the token, and for others, nothing") as proof:
        stranger = ground.api.ask(path, token="x" * 64)
        require(stranger.status == HTTP_UNAUTHORISED, f"a wrong token was answered {stranger.status}")
        absent = ground.ask(contract.credentials_path(tom, "google"))
        require(absent.status == HTTP_NOT_FOUND, f"another user was answered {absent.status}")
        workflow = ground.api.ask(path, token=ground.token)
        require(workflow.status == HTTP_FORBIDDEN, f"n8n's token alone was answered {workflow.status}")
        proof.evidence = "401, 404, and 403 for a workflow that asks by itself"


def _tell_ciphertext(story: Story, ground: Ground, path: str, lea: str, tom: str) -> None:
    with story.proof("the database holds ciphertext only") as proof:
        dump = str(ground.database.execute("SELECT c::text FROM client_connections c").fetchall())
        require(lea in dump, "the row is not there")
        require(TOKEN not in dump, "the token stands in the table")
        proof.evidence = "AES-256-GCM, version:iv:authTag:ciphertext"
    with story.proof("a moved or changed ciphertext is refused") as proof:
        ground.ask(contract.credentials_path(tom, "google"), "PUT", {"accessToken": "tom's own"})
        ground.database.execute(_MOVE, (lea, tom))
        moved = ground.ask(contract.credentials_path(tom, "google"))
        ground.database.execute(_CHANGE, (lea,))
        changed = ground.ask(path)
        for answer in (moved, changed):
            require(answer.status >= HTTP_BROKEN, f"it was answered {answer.status}")
            require(TOKEN not in str(answer.body), "the token was given out")
        proof.evidence = "another user's row, and one digit"
