"""Which values the live system of a client takes, asked on its host and in its containers without otobotctl."""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Iterable, Mapping

from tests.lab.host import Host

# Role and database of each secret of PostgreSQL, and of MongoDB. A role's second login has _2 behind its name.
POSTGRES = {
    "POSTGRES_PASSWORD": ("otobot_admin", "postgres"),
    "FRONTEND_DB_PASSWORD": ("vault_owner", "otobot_frontend"),
    "VAULT_RUNTIME_PASSWORD": ("vault_runtime", "otobot_frontend"),
    "N8N_DB_PASSWORD": ("n8n_owner", "otobot_n8n"),
    "TOOLJET_DB_PASSWORD": ("tooljet_owner", "otobot_tooljet"),
}
MONGO = {"MONGO_PASSWORD": ("otobot_admin", "admin"), "LIBRECHAT_DB_PASSWORD": ("librechat_owner", "librechat")}
TOKENS = {
    "N8N_INTERNAL_TOKEN": ("x-internal-token", "/api/internal/connection-status/00000000-0000-4000-8000-000000000000"),
    "VAULT_OPERATOR_TOKEN": ("x-operator-token", "/api/admin/client"),
}
_PSQL = """while read -r role database value; do
  PGPASSWORD=$value psql -XAtq -h postgres -U "$role" -d "$database" -c "SELECT 1" < /dev/null > /dev/null 2>&1; echo $?
done"""
_REDIS = """while read -r value; do
  REDISCLI_AUTH=$value redis-cli ping < /dev/null 2> /dev/null | grep -qx PONG; echo $?
done"""
_CURL = """while read -r header path value; do
  [ "$(curl -s -o /dev/null -w "%{http_code}" -H "$header: $value" "http://127.0.0.1:3001$path")" != 401 ]; echo $?
done"""
# The driver that LibreChat has, so SCRAM-SHA-256 as it speaks it.
_SCRAM = """node -e '
const {MongoClient} = require("mongodb");
const lines = require("fs").readFileSync(0, "utf8").trim().split("\\n").map((line) => line.split(" "));
(async () => {
  for (const [role, database, value] of lines) {
    const one = new MongoClient("mongodb://mongo:27017", {auth: {username: role, password: value}, authSource: database});
    console.log(await one.connect().then(() => one.db(database).command({ping: 1})).then(() => 0, (error) => error.code));
    await one.close();
  }
})();'"""


def _asked(host: Host, service: str, script: str, lines: list[str]) -> list[bool]:
    """A script in a container ("": on the host) reads lines and prints 0 for each that is accepted."""
    words = f"docker exec --interactive otobot-acme-{service}-1 sh -c" if service else "sh -c"
    argv = [*host.ssh_argv(user="root"), f"{words} {shlex.quote(script)}"]
    done = subprocess.run(argv, input="\n".join(lines) + "\n", text=True, capture_output=True, timeout=180, check=False)
    said = done.stdout.split()
    assert len(said) == len(lines), (service, done.stderr)
    return [word == "0" for word in said]


def _logins(places: Mapping[str, tuple[str, str]], values: Mapping[str, str]) -> tuple[list[str], list[str]]:
    """Names, and a line for each login of theirs."""
    pairs = [
        (name, f"{role}{turn} {database} {values[name]}")
        for name, (role, database) in places.items()
        if name in values
        for turn in ("", "_2")
    ]
    return [name for name, _ in pairs], [line for _, line in pairs]


def accepted(host: Host, values: Mapping[str, str]) -> set[str]:
    """Of the secrets that can be tried, those whose value here is accepted by at least one login."""
    found: set[str] = set()
    for service, script, places in (("postgres", _PSQL, POSTGRES), ("librechat", _SCRAM, MONGO)):
        names, lines = _logins(places, values)
        found |= {name for name, yes in zip(names, _asked(host, service, script, lines), strict=True) if yes}
    if _asked(host, "redis", _REDIS, [values["REDIS_PASSWORD"]]) == [True]:
        found.add("REDIS_PASSWORD")
    tokens = [f"{header} {path} {values[name]}" for name, (header, path) in TOKENS.items()]
    return found | {name for name, yes in zip(TOKENS, _asked(host, "", _CURL, tokens), strict=True) if yes}


TRIED = frozenset({*POSTGRES, *MONGO, *TOKENS, "REDIS_PASSWORD"})


def shown(containers: Iterable[dict], values: Mapping[str, str]) -> set[str]:
    """The secrets whose value here is in the environment of a container, by whatever name."""
    text = json.dumps([each["Config"]["Env"] for each in containers])
    return {name for name, value in values.items() if value in text}
