"""Logins and questions to a client's databases, made inside their own containers; passwords go over stdin."""

from __future__ import annotations

import subprocess
from typing import Any, Dict, List, NamedTuple, Sequence

from otobotctl.agent.dumps import ADMIN
from otobotctl.agent.shell import ask

_TIMEOUT_S = 20.0
_CELL, _ROW = "\x1f", "\x1e"
_OPTIONS = "-c default_transaction_read_only=on -c statement_timeout=8000 -c lock_timeout=3000"
# By the container's name and never by 127.0.0.1, which PostgreSQL's image trusts: a wrong password must be refused.
_PSQL = (
    "IFS= read -r PGPASSWORD; export PGPASSWORD PGCONNECT_TIMEOUT=8; "
    'exec psql --no-psqlrc --no-password --quiet --host="$0" --username="$1" --dbname="$2" --command="SELECT 1"'
)
_MONGO = (
    'IFS= read -r OTOBOT_PASSWORD; export OTOBOT_PASSWORD OTOBOT_ROLE="$1"; '
    'exec mongosh --quiet --norc "mongodb://$0:27017/$2?serverSelectionTimeoutMS=8000" '
    '--eval "quit(db.auth(process.env.OTOBOT_ROLE, process.env.OTOBOT_PASSWORD).ok ? 0 : 1)"'
)
_REDIS = (
    'IFS= read -r REDISCLI_AUTH; export REDISCLI_AUTH; said=$(redis-cli -h "$0" ping 2>&1); '
    '[ "$said" = PONG ] || { echo "$said" >&2; exit 1; }'
)
_PROGRAMS = {"postgres": _PSQL, "mongo": _MONGO, "redis": _REDIS}


class Login(NamedTuple):
    """How a login ended; `said` is the server's own last line, the password taken out of it."""

    ok: bool
    said: str


def credentials(value: str, role: str) -> "tuple[str, str]":
    """The role and password of a variable: the password itself, or an address with both in it."""
    if "://" not in value:
        return role, value
    from urllib.parse import unquote, urlsplit

    found = urlsplit(value)
    return unquote(found.username or role), unquote(found.password or "")


def login(container: str, engine: str, server: str, role: str, database: str, password: str) -> Login:
    """Log in as `role` from inside the engine's container, as a neighbour on its network would."""
    argv = ["docker", "exec", "--interactive", container, "sh", "-c", _PROGRAMS[engine], server, role, database]
    try:
        done = subprocess.run(
            argv,
            input=password.encode() + b"\n",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            timeout=_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Login(False, "no answer in {:.0f} s".format(_TIMEOUT_S))
    said = (done.stderr + b"\n" + done.stdout).decode("utf-8", "replace")
    if password:
        said = said.replace(password, "***")
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return Login(done.returncode == 0, "" if done.returncode == 0 else (lines or ["no reason given"])[-1][:300])


def query(container: str, database: str, sql: str) -> Dict[str, Any]:
    """Answer {"rows": [[text, ...], ...]} of one statement that changes nothing, or {"error": text}."""
    words = ("psql", "--username=" + ADMIN, "--no-password", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align")
    told = ("--field-separator=" + _CELL, "--record-separator=" + _ROW, "--dbname=" + database, "--command=" + sql)
    argv: Sequence[str] = ("docker", "exec", "--env", "PGOPTIONS=" + _OPTIONS, container, *words, *told)
    answer = ask(argv, timeout_s=_TIMEOUT_S)
    if answer.status:
        lines = [line.strip() for line in answer.stderr.splitlines() if line.strip()]
        return {"error": (lines or ["psql ended with {}".format(answer.status)])[0][:300]}
    text = answer.stdout.rstrip("\n")
    rows: List[List[str]] = [row.split(_CELL) for row in text.split(_ROW) if row] if text else []
    return {"rows": rows}
