"""A host of one client with point-in-time recovery: a real PostgreSQL, its real receiver, real restic."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.story import embedded
from tests.agent.backup.hosts import TOP, BackupHost
from tests.agent.backup.restored_host import ANNA, ASKED, BEN, COUNTED, MIGRATE, SOURCES, vault
from tests.waiting import until

SEALED = "1:b2Y=:c2VhbGVk:eA=="
_BEGIN = """
import json, os, sys
root, call, kill = sys.argv[1], sys.argv[2], int(sys.argv[3])
import otobotctl.agent.run as run
run.PATH = root + "/bin:" + run.PATH
import otobotctl.agent.releases as releases
releases.ROOT = root + "/opt"
from otobotctl.agent.backup import course, drill, hands, places as where, reports, restic, restores, saving, signing
from otobotctl.agent.backup.pitr import base, here, proof, recovery, ship
import otobotctl.agent.shell as shell
shell.PATH = run.PATH
from otobotctl.agent.backup.places import BackupPlaces
reports.METRICS = root + "/metrics"
places = BackupPlaces("acme", *(root + each for each in ("/etc", "/state", "/run")))
restores.BackupPlaces = lambda client: places
for each in (restores, hands, ship, base, restic, recovery):
    if hasattr(each, "PATH"):
        each.PATH = run.PATH
EFFECTS = {
    "restore": ((hands.Hands, "flow stop up rename remove"), (course.Course, "_write end"), (recovery.Recovery, "run stop")),
    "ship": ((restic.Restic, "save"), (saving.Saving, "finish"), (here.Spool, "drop clear")),
    "base": ((restic.Restic, "save put"), (saving.Saving, "finish")),
    "clean": (),
    "drill": ((proof.Replay, "_start _fill _replay _reached _counted"),),
}
for owner, names in EFFECTS[call]:
    for name in names.split():
        setattr(owner, name, before(name, getattr(owner, name)))
def say(text): print(text, flush=True)
if call == "restore":
    try:
        restores.restore(json.loads(sys.argv[4]), say)
    except restores.StepError as error:
        print("FAILED", error.code, error, flush=True)
elif call == "ship":
    shipper = ship.Shipper(places, say)
    shipper.tick()
    shipper._pool.shutdown()
    shipper.tick = None
elif call == "clean":
    drill.clean(places)
elif call == "drill":
    signing.write.__defaults__ = (root + "/ssh_host_*_key",)
    job = where.read_job(places)
    print(json.dumps(drill.drill(places, job, job["targets"][0], "a test", lambda record: print(json.dumps(record)))))
else:
    print("made", base.Bases(places, say).make())
print("boundaries", count)
"""


def client() -> Iterator[PitrHost]:
    """A client with one archive, one base, and its log in one repository; where restic is installed."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    made = PitrHost(Path(tempfile.mkdtemp(prefix="otobot-pitr-")))
    try:
        made.make("disk")
        made.fill()
        assert made.run()["disk"]["error"] is None
        made.based()
        yield made
    finally:
        made.remove()


class PitrHost(BackupHost):
    """`root` has to be where PostgreSQL's account can read. `said` is what the last call said, a line each."""

    def make(self, *targets: str) -> None:
        """A filled client, up and running; its repositories are made, and known to have an archive."""
        super().make(*targets)
        self.root.chmod(0o755)
        account = embedded._account()
        self.binaries = embedded._reachable(embedded._binaries(), self.root, account)
        (self.root / "bin/docker").rename(self.docker / "docker")
        self._program(
            "bin/docker",
            f'#!/bin/sh\nexec {sys.executable} -IS {TOP}/tests/agent/backup/pitr_docker.py {self.docker} "$@"\n',
        )
        for name in ("psql", "pg_dump", "pg_dumpall"):
            (self.docker / "inside" / name).unlink()
        self._program("bin/systemctl", f'#!/bin/sh\necho "$*" >>{self.docker}/units\n')
        for name in ("librechat", "mongo"):
            for folder in ("containers", "running"):
                (self.docker / f"{folder}/otobot-acme/{name}").unlink(missing_ok=True)
        self._write("docker/containers/otobot-acme/postgres-wal", "")
        for folder in ("pids", "logs", "sockets", "drills"):
            (self.docker / folder).mkdir()
        self.settings = {
            "owner": [account.pw_uid, account.pw_gid] if account else [],
            "account": list(embedded._as_account(account)), "binaries": str(self.binaries),
            "receiver": self._receiver(),
            "live": ["-c", "max_slot_wal_keep_size=64MB", "-c", "checkpoint_timeout=30min"],
            "init": [
                (
                    "SELECT pg_create_physical_replication_slot('otobot_pitr', true) WHERE NOT EXISTS"
                    " (SELECT FROM pg_replication_slots WHERE slot_name = 'otobot_pitr')"
                )
            ],
            "migrate": MIGRATE,
        }  # fmt: skip
        self.configure()
        for name in ("postgres_data", "postgres_wal"):
            place = self.docker / f"volumes/otobot-acme_{name}"
            place.mkdir(mode=0o700)
            if account:
                os.chown(place, account.pw_uid, account.pw_gid)
        words = ("--username=otobot_admin", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync")
        argv = [*self.settings["account"], str(self.binaries / "initdb"), f"--pgdata={self.data}", *words]
        subprocess.run(argv, check=True, capture_output=True, cwd="/", timeout=120)
        self._write("opt/acme/releases/1/release.json", json.dumps({"images": {"postgres": "postgres:16", "n8n": "n8n:1", "vault-api": "v:1"}, "secret": ["env/n8n.env"]}))  # fmt: skip
        engines = ["postgres", "postgres-wal"]
        self.write_job(sources=SOURCES, engines=engines, pitr=True, pitr_days=7)
        self.up()

    def _receiver(self) -> str:
        """The script of the receiver's container, as this host has its paths."""
        compose = (TOP / "templates/services/postgres/compose.yaml.j2").read_text()
        script = compose.split("entrypoint:\n      - sh\n      - -c\n      - |\n")[1].split("    volumes:\n")[0]
        assert "pg_receivewal" in script
        return (
            script.replace("/var/lib/postgresql/data", str(self.spool))
            .replace("/var/run/postgresql", str(self.docker / "sockets/postgres"))
            .replace("sleep 5", "sleep 0.2")
        )

    def fill(self) -> None:
        """A vault of two people, and n8n with a workflow."""
        for name in ("otobot_frontend", "otobot_n8n"):
            self.sql(f"CREATE DATABASE {name}")
        self.sql(vault({"anna": (ANNA, SEALED), "ben": (BEN, SEALED)}), "otobot_frontend")
        self.sql(
            "CREATE TABLE workflow (id int PRIMARY KEY, name text); INSERT INTO workflow VALUES (1, 'a');"
            "CREATE TABLE step (id int PRIMARY KEY)",
            "otobot_n8n",
        )

    @property
    def data(self) -> Path:
        """The data directory of PostgreSQL."""
        return self.docker / "volumes/otobot-acme_postgres_data"

    @property
    def spool(self) -> Path:
        """Where the log comes to."""
        return self.docker / "volumes/otobot-acme_postgres_wal"

    def configure(self, **more: object) -> None:
        """Say how PostgreSQL is started from now on."""
        self.settings.update(more)
        (self.docker / "settings.json").write_text(json.dumps(self.settings))

    def fake(self, *words: str) -> subprocess.CompletedProcess[str]:
        """What the stand-in for docker does."""
        argv = [str(self.root / "bin/docker"), *words]
        return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)

    def up(self) -> None:
        """Bring all up."""
        done = self.fake("compose", "up")
        assert done.returncode == 0, done.stderr

    def end(self) -> None:
        """Nothing runs any more."""
        for each in ("postgres-wal", "postgres", "otobot-restore-acme"):
            self.fake("stop", "--time", "60", each)

    def sql(self, text: str, database: str = "postgres") -> str:
        """What psql says."""
        argv = [str(self.binaries / "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-U", "otobot_admin", "-d", database]
        place = {**os.environ, "PGHOST": str(self.docker / "sockets/postgres")}
        done = subprocess.run(argv, input=text, capture_output=True, text=True, timeout=120, check=False, env=place)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def now(self) -> float:
        """The server's clock."""
        return float(self.sql("SELECT extract(epoch FROM clock_timestamp())"))

    def do(self, call: str, kill: int = 0, **asked: object) -> int:
        """Tick the shipper, look whether a base is due, drill, or restore; in a process that may end before effect `kill`."""
        question = json.dumps({**ASKED, "moment": "exact", **asked})
        argv = [sys.executable, "-c", COUNTED + _BEGIN, str(self.root), call, str(kill), question]
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        done = subprocess.run(argv, capture_output=True, text=True, env=environment, timeout=300, check=False)
        assert done.stderr == "", done.stderr
        self.said = done.stdout.splitlines()
        return done.returncode

    def based(self) -> None:
        """The log of what is there has arrived, and a base of it."""
        assert self.do("ship") == 0, self.said
        assert self.do("base") == 0, self.said
        assert "made True" in self.said, self.said
        self.covered()  # what is covered begins at the base's end

    def covered(self) -> None:
        """All that was committed until now is in the repository; the receiver may be some moments behind."""
        now = self.now()
        until(lambda: self.do("ship") == 0 and self.note()["targets"]["disk"]["covers"] > now)

    def drill(self, kill: int = 0) -> dict:
        """Drill the first target; return the report, with the `error`; nothing where it was killed."""
        if self.do("drill", kill):
            return {}
        done = json.loads(self.said[-2])
        return {**json.loads(done["signed"]["report"]), "error": done["error"]}

    def left(self) -> list[str]:
        """Containers of drills that are there."""
        return sorted(path.name for path in (self.docker / "drills").iterdir())

    def note(self, which: str = "pitr.json") -> dict:
        """A note of the host's."""
        return json.loads((self.root / "state/acme" / which).read_text())

    def remove(self) -> None:
        """Take everything away."""
        self.end()
        shutil.rmtree(self.root, ignore_errors=True)
