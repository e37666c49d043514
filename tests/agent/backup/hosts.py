"""A host of one client for the backup's runner: real restic, a stand-in for docker, in a directory."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.agent.backup import quick_restic

TOP = Path(__file__).parents[3]
DUMP = bytes(range(256)) * 4000
SECRETS = ("the-masters-key-of-acme", "database-password-of-n8n", "encryption-key-of-n8n")
SOURCES = (
    {"kind": "postgres", "name": "otobot_frontend", "service": "postgres", "of": "vault-api", "exclude": []},
    {"kind": "postgres", "name": "otobot_n8n", "service": "postgres", "of": "n8n", "exclude": []},
    {"kind": "mongo", "name": "librechat", "service": "mongo", "of": "librechat", "exclude": []},
    {"kind": "volume", "name": "n8n_data", "service": "", "of": "n8n", "exclude": ["config"]},
)
PARTS = {
    "/configuration.tar",
    "/databases/roles.sql",
    "/databases/otobot_frontend.dump",
    "/databases/otobot_n8n.dump",
    "/databases/librechat.archive",
    "/volumes/n8n_data.tar",
}
# Answers as psql does what the runner asks of it: a snapshot's name, rows, and what it is to echo.
PSQL = r"""while read -r line; do case "$line" in
*pg_export_snapshot*) echo 00000003-0000001B-1 ;;
*gexec*) echo '["public.credentials", 12]'; echo '["public.users", 3]' ;;
'\echo '*) echo "${line#?echo }" ;;
esac; done"""
INSIDE = {
    "pg_dumpall": "echo 'CREATE ROLE vault_owner;'",
    "pg_dump": 'echo "$*" >>@HERE@/dumped; cat @HERE@/rows',
    "psql": PSQL,
    "mongodump": "cat >@HERE@/mongo-config; echo mongo archive",
}
_BEGIN = """
import sys
import otobotctl.agent.run as run
run.PATH = sys.argv[1] + "/bin:" + run.PATH
import otobotctl.agent.releases as releases
releases.ROOT = sys.argv[1] + "/opt"
from otobotctl.agent.backup import runner, reports, making
from otobotctl.agent.backup.clock import Clock
from otobotctl.agent.backup.places import BackupPlaces
reports.METRICS = sys.argv[1] + "/metrics"
reports.publish.__defaults__ = (reports.METRICS,)
reports.SENDMAIL = (sys.argv[1] + "/bin/sendmail",)
import json
def tell(record): print(json.dumps(record), flush=True)
places = BackupPlaces("acme", *(sys.argv[1] + each for each in ("/etc", "/state", "/run")))
def go(reason="manual", consistent=False, **more):
    wanted = making.Wanted(reason, consistent, "a test", sys.argv[1] + "/run/lock")
    return runner.Run(places, runner.Asked(wanted, **more), Clock(lambda: None), tell).make()
"""


class BackupHost:
    """`root` holds everything; `targets` are repositories by name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.docker = root / "docker"
        self.metrics = root / "metrics"
        self.targets: dict[str, dict] = {}
        self.job: dict = {}

    def make(self, *targets: str) -> None:
        """Write it all, with a local repository for each of these names."""
        for name in ("bin", "run", "state", "metrics", "etc/acme"):
            (self.root / name).mkdir(parents=True)
        for service in ("postgres", "n8n", "mongo", "vault-api"):
            self._write(f"docker/running/otobot-acme/{service}", "")
            self._write(f"docker/containers/otobot-acme/{service}", "")
        self._write("docker/volumes/otobot-acme_n8n_data/binary", "of n8n")
        self._write("docker/volumes/otobot-acme_n8n_data/config", SECRETS[2])
        (self.docker / "rows").write_bytes(DUMP)
        model = {"services": {"mongo": {"environment": {"MONGO_INITDB_ROOT_PASSWORD": "mongo-pass"}}}}
        self._write("docker/config.json", json.dumps(model))
        for name, text in INSIDE.items():
            self.inside(name, text)
        script = (TOP / "tests/backup/fake_docker.sh").read_text().replace("@HERE@", str(self.docker))
        self._program("bin/docker", script)
        self._program("bin/restic", quick_restic.program())
        self._release()
        self._write("etc/acme/key", "password-of-the-repository")
        self._write("etc/acme/secrets.age", "-----BEGIN AGE ENCRYPTED FILE-----\n")
        for name in targets:
            self.target(name, str(self.root / "repositories" / name))

    def _release(self) -> None:
        place = "opt/acme/releases/1/"
        self._write(place + "compose.yaml", "services: {}\n")
        self._write(place + "env/n8n.env", f"KEY={SECRETS[0]}\nPASSWORD={SECRETS[1]}\n")
        images = {name: f"{name}:1" for name in ("postgres", "n8n", "mongo", "vault-api", "librechat")}
        self._write(place + "release.json", json.dumps({"images": images, "secret": ["env/n8n.env"]}))
        (self.root / "opt/acme/current").symlink_to("releases/1")

    def target(self, name: str, repository: str, **more: object) -> None:
        """Add a target, or change one."""
        known = {"environment": {}, "options": [], "append_only": False}
        self.targets[name] = {"name": name, "repository": repository, **known, **more}
        self.write_job()

    def write_job(self, **more: object) -> None:
        """Write the job, with these words in place of the usual ones."""
        self.job = {
            "version": 1, "client": "acme", "project": "otobot-acme", "sources": list(SOURCES),
            "engines": ["postgres", "mongo"], "targets": list(self.targets.values()),
            "keep": {"daily": 30, "weekly": 12, "monthly": 12, "yearly": 7}, "rpo_s": 14400, "rto_s": 1800,
            "drill_days": 31, "webhook": "", "mail": "", "pitr": False, "pitr_days": 7, **self.job, **more,
        }  # fmt: skip
        self.job["targets"] = list(self.targets.values())
        self._write("etc/acme/job.json", json.dumps(self.job))

    def inside(self, program: str, text: str) -> None:
        """What a program does in every container."""
        self._program(f"docker/inside/{program}", f"#!/bin/sh\n{text.replace('@HERE@', str(self.docker))}\n")

    def _program(self, name: str, text: str) -> None:
        self._write(name, text)
        (self.root / name).chmod(0o755)

    def _write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def start(self, call: str = "go()") -> subprocess.Popen[str]:
        """Start a run in a process and a session of its own."""
        argv = [sys.executable, "-c", _BEGIN + call, str(self.root)]
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        ends = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen(argv, text=True, env=environment, start_new_session=True, **ends)

    def run(self, call: str = "go()") -> dict[str, dict]:
        """Run to the end; return the result of each target. Whatever is printed on stderr is a failure."""
        said, errors = self.start(call).communicate(timeout=300)
        assert errors == ""
        self.said = [json.loads(line) for line in said.splitlines()]
        return {each["result"]["target"]: each["result"] for each in self.said if "result" in each}

    def kill(self, call: str, claim, *, all_of_it: bool) -> None:
        """Start a run, and kill it as soon as `claim` holds of a record, or with everything that it has started."""
        process = self.start(call)
        assert process.stdout is not None
        for line in process.stdout:
            if claim(json.loads(line)):
                break
        if all_of_it:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
        process.communicate(timeout=120)

    def restic(self, name: str, *words: str) -> str:
        """What restic itself says of a target."""
        argv = ["restic", "--no-cache", "--repo", self.targets[name]["repository"], *words]
        environment = {**os.environ, "RESTIC_PASSWORD_FILE": str(self.root / "etc/acme/key")}
        done = subprocess.run(argv, env=environment, capture_output=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode("latin-1")

    def hear_restic(self) -> Path:
        """From now on each start of restic by a run adds its words to this file, a line each."""
        heard, program = self.root / "restic-was-told", self.root / "bin/restic"
        program.rename(self.root / "bin/restic-itself")
        self._program("bin/restic", f'#!/bin/sh\necho "$*" >>{heard}\nexec {program}-itself "$@"\n')
        return heard

    def snapshots(self, name: str) -> list[dict]:
        """All snapshots of a target."""
        return json.loads(self.restic(name, "snapshots", "--json", "--no-lock"))

    def archives(self, name: str) -> list[str]:
        """The ids of a target's archives."""
        heads = [each for each in self.snapshots(name) if each["paths"] == ["/archive.json"]]
        return sorted(tag[len("archive=") :] for each in heads for tag in each["tags"] if tag.startswith("archive="))

    def archive(self, name: str, ident: str) -> dict:
        """What an archive says of itself."""
        head = next(
            e for e in self.snapshots(name) if f"archive={ident}" in e["tags"] and e["paths"] == ["/archive.json"]
        )
        return json.loads(self.restic(name, "dump", head["id"], "/archive.json"))

    def state(self) -> dict:
        """What state.json says."""
        return json.loads((self.root / "state/acme/state.json").read_text())

    def running(self) -> set[str]:
        """The services that run."""
        return {path.name for path in (self.docker / "running/otobot-acme").iterdir()}
