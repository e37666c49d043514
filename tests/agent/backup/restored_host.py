"""A host whose containers have a real PostgreSQL, to archive from and to restore into; and a way to kill a restore."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from otobotctl.agent.backup.restic import flat
from otobotctl.vault_api.schema import migrations
from scripts.story.embedded import SUPERUSER, Server
from tests.agent.backup.hosts import TOP, BackupHost

CLIENT = "11111111-1111-4111-8111-111111111111"
ANNA, BEN, CARL = (f"{digit * 8}-0000-4000-8000-{digit * 12}" for digit in "abc")
DATABASES = ("otobot_frontend", "otobot_n8n")
SOURCES = [
    {"kind": "postgres", "name": "otobot_frontend", "service": "postgres", "of": "vault-api", "exclude": []},
    {"kind": "postgres", "name": "otobot_n8n", "service": "postgres", "of": "n8n", "exclude": []},
    {"kind": "volume", "name": "n8n_data", "service": "", "of": "n8n", "exclude": ["config"]},
]
ASKED = {
    "client": "acme", "run": "restore-acme-1", "request": "r", "who": "a test", "id": "", "until": None, "target": "",
    "service": "", "database": "", "table": "", "user": "", "replace": False, "safety": False, "proofs": [],
}  # fmt: skip
_UP = """#!/bin/sh
# Brings containers up, and says where Docker is; the rest is the usual stand-in's.
here=@HERE@
[ "$1" != info ] || { echo "$here"; exit 0; }
for word; do [ "$word" != up ] || up=yes; done
[ -n "$up" ] || exec "$here/docker" "$@"
echo "$*" >>"$here/calls"
[ ! -e "$here/broken" ] || { rm "$here/broken"; echo "n8n is unhealthy" >&2; exit 1; }
[ -e "$here/lazy" ] || "$here/inside/psql" -XAtqU otobot_admin -d otobot_frontend -c "$(cat "$here/migrate")" || exit 1
for each in "$here"/containers/otobot-acme/*; do touch "$here/running/otobot-acme/${each##*/}"; done
"""
# What the vault's migration does to who is back.
MIGRATE = "UPDATE vault.users SET erased_at = now() WHERE id IN (SELECT user_id FROM vault.erasures)"
# Goes before a program with a number `kill`: that one of the effects wrapped in `before` ends the process instead.
COUNTED = """
count = 0
def before(name, call):
    def wrapped(*arguments, **named):
        global count
        count += 1
        if count == kill:
            print("killed before", name, flush=True)
            os.kill(os.getpid(), 9)
        return call(*arguments, **named)
    return wrapped
"""
_BEGIN = """
import json, os, sys, subprocess
root, asked, kill = sys.argv[1], json.loads(sys.argv[2]), int(sys.argv[3])
import otobotctl.agent.run as run
run.PATH = root + "/bin:" + run.PATH
import otobotctl.agent.releases as releases
releases.ROOT = root + "/opt"
from otobotctl.agent.backup import choosing, course, hands, restores
from otobotctl.agent.backup.places import BackupPlaces
restores.BackupPlaces = lambda client: BackupPlaces(client, *(root + each for each in ("/etc", "/state", "/run")))
if asked == "erasures":
    from otobotctl.agent.backup import erased
    erased.BackupPlaces = restores.BackupPlaces
    sys.exit(erased.main("acme"))
for owner, names in ((hands.Hands, "tell flow through stop up rename remove"), (course.Course, "_write end")):
    for name in names.split():
        setattr(owner, name, before(name, getattr(owner, name)))
if os.path.exists(root + "/kept/archive.json"):  # an archive as files: what is killed here is not restic
    class Files(choosing.Chosen):
        target = "disk"
        def __init__(self):
            self.archive = json.load(open(root + "/kept/archive.json"))
        def stream(self, part):
            return subprocess.Popen(["cat", root + "/kept" + part["name"]], stdout=-1, stderr=-1)
    choosing.listed = lambda *_: []
    choosing.choose = lambda *_: Files()
try:
    restores.restore(asked, lambda text: print(text, flush=True))
except restores.StepError as error:
    print("FAILED", error.code, error, flush=True)
print("boundaries", count)
"""


def vault(people: Mapping[str, tuple[str, str]]) -> str:
    """A vault of acme's, as SQL: by name, each person's id and the sealed key of a connection."""
    text = "\n".join(migration.text for migration in migrations())
    return "\n".join(
        (
            f"CREATE SCHEMA vault; SET search_path = vault;\n{text}",
            f"INSERT INTO vault.clients (id, slug) VALUES ('{CLIENT}', 'acme');",
            f"INSERT INTO vault.encryption_keys (client_id, version, proof) VALUES ('{CLIENT}', 1, 'p');",
            *(
                f"INSERT INTO vault.users (client_id, id, email) VALUES ('{CLIENT}', '{person}', '{name}@acme.example');"
                "INSERT INTO vault.client_connections (client_id, id, user_id, service_code, encrypted_api_key)"
                f" VALUES ('{CLIENT}', gen_random_uuid(), '{person}', 'openai', '{sealed}');"
                for name, (person, sealed) in people.items()
            ),
        )
    )


class RestoreHost(BackupHost):
    """Databases are real; `said` is what the last restore said, a line each."""

    def __init__(self, root: Path, server: Server) -> None:
        super().__init__(root)
        self.server = server
        self.said: list[str] = []

    def make(self, *targets: str) -> None:
        """As of a host, with its databases filled."""
        super().make(*targets)
        for name in ("psql", "pg_dump", "pg_restore", "pg_dumpall"):
            place = f"PGHOST={self.server.socket} PGPORT={self.server.port}"
            self.inside(name, f'{place} exec {self.server.binaries / name} "$@"')
        (self.root / "bin/docker").rename(self.docker / "docker")
        self._program("bin/docker", _UP.replace("@HERE@", str(self.docker)))
        self._write("docker/migrate", MIGRATE)
        for name in ("librechat", "mongo"):
            (self.docker / f"containers/otobot-acme/{name}").unlink(missing_ok=True)
            (self.docker / f"running/otobot-acme/{name}").unlink(missing_ok=True)
        self.write_job(sources=SOURCES, engines=["postgres"])
        self.fill()

    def fill(self) -> None:
        """The databases as they are at first: a vault of three people, and n8n with two workflows."""
        for name in self.databases():
            if name.startswith("otobot_"):
                self.sql(f'DROP DATABASE "{name}" WITH (FORCE)')
        for name in DATABASES:
            self.sql(f"CREATE DATABASE {name}")
        people = {"anna": ANNA, "ben": BEN, "carl": CARL}
        self.sql(vault({name: (person, f"1:of:{name}:x") for name, person in people.items()}), "otobot_frontend")
        self.sql(
            "CREATE TABLE workflow (id int PRIMARY KEY, name text); INSERT INTO workflow VALUES (1, 'a'), (2, 'b');"
            "CREATE TABLE step (id int PRIMARY KEY, workflow int REFERENCES workflow); INSERT INTO step VALUES (1, 2)",
            "otobot_n8n",
        )

    def sql(self, text: str, database: str = "postgres") -> str:
        """What psql says."""
        place = ("-h", str(self.server.socket), "-p", str(self.server.port), "-U", SUPERUSER)
        argv = [str(self.server.binaries / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", *place, "-d", database]
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def databases(self) -> list[str]:
        """Every database."""
        return sorted(self.sql("SELECT datname FROM pg_database").splitlines())

    def names(self) -> str:
        """What n8n has."""
        return self.sql("SELECT string_agg(name, ',' ORDER BY id) FROM workflow", "otobot_n8n")

    def people(self) -> str:
        """Whom the vault has."""
        return self.sql("SELECT string_agg(email, ',' ORDER BY id) FROM vault.users", "otobot_frontend")

    @property
    def volume(self) -> Path:
        """n8n's files."""
        return self.docker / "volumes/otobot-acme_n8n_data"

    def spoil(self) -> None:
        """Everything changes after the archive."""
        self.sql("UPDATE workflow SET name = 'spoilt'", "otobot_n8n")
        self.sql(f"UPDATE vault.users SET email = 'mallory@acme.example' WHERE id = '{ANNA}'", "otobot_frontend")
        (self.volume / "binary").write_text("spoilt")
        (self.volume / "new").write_text("new")

    def restore(self, kill: int = 0, **asked: object) -> int:
        """Restore in a process of its own, which ends by SIGKILL before effect number `kill`; return its status."""
        argv = [sys.executable, "-c", COUNTED + _BEGIN, str(self.root), json.dumps({**ASKED, **asked}), str(kill)]
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=300, check=False)
        assert done.stderr == ""
        self.said = done.stdout.splitlines()
        return done.returncode

    def save_erasures(self) -> list[str]:
        """What the quarterly look does and says."""
        argv = [sys.executable, "-c", COUNTED + _BEGIN, str(self.root), '"erasures"', "0"]
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=300, check=False)
        assert done.stderr == ""
        return done.stdout.splitlines()

    def keep(self, ident: str) -> None:
        """From now on this archive is read from files."""
        archive = self.archive("disk", ident)
        for part in archive["parts"]:
            path = self.root / "kept" / part["name"].lstrip("/")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(self.restic("disk", "dump", part["snapshot"], flat(part["name"])).encode("latin-1"))
        self.kept = json.dumps(archive)
        (self.root / "kept/archive.json").write_text(self.kept)

    def anew(self) -> None:
        """As it was when it was archived."""
        self.fill()
        shutil.rmtree(self.volume)
        self._write("docker/volumes/otobot-acme_n8n_data/binary", "of n8n")
        self._write("docker/volumes/otobot-acme_n8n_data/config", "encryption-key-of-n8n")
        for service in ("postgres", "n8n", "vault-api"):
            self._write(f"docker/running/otobot-acme/{service}", "")

    def let_go(self) -> None:
        """The archive is read from its repository."""
        (self.root / "kept").rename(self.root / "elsewhere")

    def keep_back(self) -> None:
        """The archive is read from files again, as it was."""
        if (self.root / "elsewhere").exists():
            (self.root / "elsewhere").rename(self.root / "kept")
        (self.root / "kept/archive.json").write_text(self.kept)
