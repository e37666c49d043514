"""A host with an archive of a real database, for drills: real restic, real PostgreSQL, the vault's real program."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

from otobotctl.agent.backup.restic import Restic
from tests.agent.backup import quick_restic

TOP = Path(__file__).parents[3]
_BEGIN = """
import json, sys
import otobotctl.agent.run as run
run.PATH = sys.argv[1] + "/bin:" + run.PATH
from otobotctl.agent.backup import drill, places, signing
signing.write.__defaults__ = (sys.argv[1] + "/ssh_host_*_key",)
def tell(record): print(json.dumps(record), flush=True)
at = places.BackupPlaces("acme", *(sys.argv[1] + each for each in ("/etc", "/state", "/run")))
job = places.read_job(at)
done = drill.drill(at, job, job["targets"][0], "a test", tell)
tell({"done": done})
"""
_ELSEWHERE = """
import json, sys
import otobotctl.agent.run as run
run.PATH = sys.argv[1] + "/bin:" + run.PATH
import otobotctl.agent.shell as shell
shell.PATH = run.PATH
from otobotctl.agent.backup import elsewhere, places
def tell(record): print(json.dumps(record), flush=True)
at = places.BackupPlaces("acme", *(sys.argv[1] + each for each in ("/nothing", "/there", "/run")))
elsewhere.serve({"word": "elsewhere", "who": "a test", "asked": json.load(sys.stdin)}, at, tell)
"""


class DrillHost:
    """`root` holds everything; `database` is what is archived, of the server `source`."""

    def __init__(self, root: Path, source, database: str, vault: dict[str, str]) -> None:
        self.root = root
        self.docker = root / "docker"
        self._source, self._database = source, database
        self._vault = vault

    def make(self) -> None:
        """Write it all, with an empty repository."""
        for name in ("bin", "etc/acme", "docker/containers", "docker/networks"):
            (self.root / name).mkdir(parents=True)
        program = f'#!/bin/sh\nexport DRILL={self.docker} TOP={TOP}\nexec {sys.executable} {Path(__file__).parent}/drill_docker.py "$@"\n'
        (self.root / "bin/docker").write_text(program)
        (self.root / "bin/docker").chmod(0o755)
        model = {"services": {"vault-api": {"environment": self._vault}}}
        (self.docker / "config.json").write_text(json.dumps(model))
        key = self.root / "etc/acme/key"
        key.write_text("password-of-the-repository")
        target = {
            "name": "disk",
            "repository": str(self.root / "repository"),
            "environment": {},
            "options": [],
            "append_only": False,
        }
        source = {"kind": "postgres", "name": self._database, "service": "postgres", "of": "vault-api"}
        job = {
            "version": 1, "client": "acme", "project": "otobot-acme", "sources": [source], "engines": ["postgres"],
            "targets": [target], "keep": {}, "rpo_s": 14400, "rto_s": 1800, "drill_days": 31, "webhook": "", "mail": "",
            "pitr": False,
            "pitr_days": 7,
        }  # fmt: skip
        (self.root / "etc/acme/job.json").write_text(json.dumps(job))
        self.restic = Restic(target, str(key))
        quick_restic.init(Path(target["repository"]), key.read_text())
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(self.root / "ssh_host_ed25519_key")]
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)

    def archive(self, rows: dict[str, int], **more: object) -> str:
        """Archive the database as it is, and say that it has these rows; return the archive's id."""
        made = time.time()
        name = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(made)) + "-" + os.urandom(2).hex()
        tags = ["archive=" + name]
        dump = [
            f"{self._source.binaries}/pg_dump",
            "--host",
            str(self._source.socket),
            "--port",
            str(self._source.port),
        ]
        dump += ["--username=otobot_admin", "--format=custom", "--compress=0", self._database]
        roles = b"CREATE ROLE otobot_admin;\nALTER ROLE otobot_admin WITH SUPERUSER LOGIN;\n" + b"".join(
            b"CREATE ROLE %s;\nALTER ROLE %s WITH LOGIN;\n" % (each, each)
            for each in (b"vault_owner", b"vault_runtime")
        )
        volume = io.BytesIO()
        with tarfile.open(fileobj=volume, mode="w") as packed:
            packed.addfile(tarfile.TarInfo("file"))
        parts = []
        for part, argv, stdin, counted in (
            ("/databases/roles.sql", ["cat"], roles, None),
            (f"/databases/{self._database}.dump", dump, b"", rows),
            ("/volumes/n8n_data.tar", ["cat"], volume.getvalue(), None),
        ):
            saving = self.restic.save(argv, stdin, part, tags, "acme")
            saved, _, said = saving.finish()
            saving.close()
            assert saved is not None, said
            parts.append({"name": part, "snapshot": saved.snapshot, "bytes": saved.bytes, "note": "", "rows": counted})
        about = {
            "version": 1, "id": name, "client": "acme", "host": "h", "made": made, "took_s": 1.0, "reason": "manual",
            "release": 3, "images": {"postgres": "postgres:16", "vault-api": "vault:1"}, "consistent": True,
            "parts": parts, **more,
        }  # fmt: skip
        saving = self.restic.save(["cat"], json.dumps(about).encode(), "/archive.json", tags, "acme")
        saving.finish()
        saving.close()
        return name

    def start(self) -> subprocess.Popen[str]:
        """Start a drill in a process of its own."""
        environment = {**os.environ, "PYTHONPATH": str(TOP)}
        argv = [sys.executable, "-c", _BEGIN, str(self.root)]
        return subprocess.Popen(argv, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    def brought(self, **more: object) -> dict:
        """What an operator would bring for a drill elsewhere; `more` replaces some of it."""
        job = json.loads((self.root / "etc/acme/job.json").read_text())
        job["targets"][0]["environment"]["RESTIC_PASSWORD"] = (self.root / "etc/acme/key").read_text()
        vault = json.loads((self.docker / "config.json").read_text())["services"]["vault-api"]["environment"]
        keys = str(self.root / "ssh_host_*_key")
        return {"job": job, "files": {}, "vault": vault, "built": {}, "name": "spare", "keys": keys, **more}

    def start_elsewhere(self, asked: dict) -> subprocess.Popen[str]:
        """Start a drill that has nothing but what is brought."""
        argv = [sys.executable, "-c", _ELSEWHERE, str(self.root)]
        process = subprocess.Popen(
            argv,
            env={**os.environ, "PYTHONPATH": str(TOP)},
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdin is not None
        with process.stdin as feed:
            json.dump(asked, feed)
        process.stdin = None
        return process

    def elsewhere(self, **more: object) -> tuple[dict, dict | None]:
        """Drill elsewhere to the end; return the report, and the error or None."""
        said, errors = self.start_elsewhere(self.brought(**more)).communicate(timeout=600)
        assert errors == "", errors
        self.said = said
        done = json.loads(said.splitlines()[-1])["done"]
        self.signed = done["signed"]
        return json.loads(done["signed"]["report"]), done["error"]

    def drill(self) -> tuple[dict, dict | None]:
        """Drill to the end; return the report, and the error or None."""
        said, errors = self.start().communicate(timeout=600)
        assert errors == "", errors
        self.said = said
        done = json.loads(said.splitlines()[-1])["done"]
        self.signed = done["signed"]
        return json.loads(done["signed"]["report"]), done["error"]

    def kill_when(self, sign: str, process: subprocess.Popen[str] | None = None) -> None:
        """Start a drill, and kill it as soon as it has said this."""
        process = process or self.start()
        assert process.stdout is not None
        for line in process.stdout:
            if sign in line:
                break
        else:
            raise AssertionError(f"it never said {sign}")
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
        assert process.stderr is not None
        process.stderr.close()

    def left(self) -> list[str]:
        """Containers and networks that are there."""
        return sorted(path.name for name in ("containers", "networks") for path in (self.docker / name).iterdir())

    def state(self) -> dict:
        """What state.json says of drills."""
        return json.loads((self.root / "state/acme/state.json").read_text())["drill"]
