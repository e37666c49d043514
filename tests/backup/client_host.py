"""A fleet with one deployed client on a host of this machine: the real agent over a pipe, a stand-in for docker."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from otobotctl import fleet as fleets
from otobotctl import secrets as sealed
from otobotctl.backup.reading import check
from otobotctl.cli import main as cli
from otobotctl.converge import pack
from otobotctl.secrets import keys
from otobotctl.workflows import converging, secrets
from otobotctl.workflows.desired import load
from tests.agent.backup import quick_restic
from tests.converge.local_door import LocalHost

SERVICES = ("postgres", "vault-api", "n8n", "mongo", "librechat")
MEMBERS = {
    "databases/roles.sql",
    "databases/otobot_frontend.dump",
    "databases/otobot_n8n.dump",
    "databases/librechat.archive.gz",
    "volumes/n8n_data.tar",
    "volumes/librechat_images.tar",
    "volumes/librechat_uploads.tar",
    "configuration/compose.yaml",
    "configuration/env/mongo.env",
    "configuration/release.json",
    "secrets.json",
    "README.txt",
}
MONGO_PASSWORD = 'm"o$n\\go-password'
ROWS = bytes(range(256)) * 4000  # a dump of a megabyte, several blocks long
_INSIDE = {
    "pg_dumpall": "echo 'CREATE ROLE vault_owner;'",
    "pg_dump": "cat @HERE@/rows",
    "psql": """echo '{"public.filler": 12}'""",
    "mongodump": "cat >@HERE@/mongo-config; echo mongo archive",
}


class ClientHost:
    """`root` holds everything; `docker` is the stand-in's state, `fleet` and `home` the operator's."""

    def __init__(self, root: Path) -> None:
        self.host = LocalHost(root / "host")
        self.docker = root / "docker"
        self.opt = root / "opt"
        self.home = root / "home"
        self.jobs = root / "jobs"  # what schedules write to /etc/otobot/backup
        self.fleet = fleets.Fleet(root / "fleet")

    def make(self) -> None:
        """Write it all."""
        os.environ["HOME"] = str(self.home)
        self.home.mkdir()
        assert cli.main(["init", str(self.fleet.root)]) == 0
        written = json.loads(self.fleet.manifest.read_text())
        written["hosts"] = {"here": {"address": "203.0.113.1"}}
        about = {"company": "ACME SAS", "email": "it@acme.example", "host": "here", "domain": "acme.example"}
        written["clients"] = {"acme": {**about, "services": list(SERVICES)}}
        self.fleet.manifest.write_text(json.dumps(written))
        secrets.mint(load(self.fleet), "acme")
        self._make_docker()
        self._make_release()

    def _make_docker(self) -> None:
        for service in (*SERVICES, "postgres-init"):
            self._touch(f"containers/otobot-acme/{service}")
            if service != "postgres-init":
                self._touch(f"running/otobot-acme/{service}")
        self._touch("containers/otobot-other/web")
        self._touch("running/otobot-other/web")
        for name in ("acme_n8n_data", "acme_librechat_images", "acme_librechat_uploads", "other_data"):
            self._touch(f"volumes/otobot-{name}/file", f"of {name}")
        (self.docker / "rows").write_bytes(ROWS)
        password = MONGO_PASSWORD.replace("$", "$$")  # as Compose prints it
        model = {"services": {"mongo": {"environment": {"MONGO_INITDB_ROOT_PASSWORD": password}}}}
        self._touch("config.json", json.dumps(model))
        for name, text in _INSIDE.items():
            self.inside(name, text)
        script = (Path(__file__).parent / "fake_docker.sh").read_text()
        self.host.add_program("docker", script.replace("@HERE@", str(self.docker)))
        self.host.add_program("restic", quick_restic.program())

    def _make_release(self) -> None:
        release = self.opt / "acme/releases/1"
        (release / "env").mkdir(parents=True)
        (release / "compose.yaml").write_text("services: {}\n")
        (release / "env/mongo.env").write_text("A=B\n")
        record = {"digest": "d", "services": [], "images": {name: f"{name}:1" for name in SERVICES}}
        (release / "release.json").write_text(json.dumps(record))
        (self.opt / "acme/current").symlink_to("releases/1")
        (self.opt / "acme/state.json").write_text('{"healthy": 1, "settled": true}')

    def inside(self, program: str, text: str) -> None:
        """What a program does in every container."""
        path = self.docker / "inside" / program
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{text.replace('@HERE@', str(self.docker))}\n")
        path.chmod(0o755)

    def _touch(self, name: str, text: str = "") -> None:
        path = self.docker / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def patch(self) -> None:
        """Lead the CLI of this process here, and the agent to this host's directories and programs."""
        os.environ["HOME"] = str(self.home)
        os.environ.pop("OTOBOTCTL_IDENTITY", None)
        real = dict(pack.sources())
        real["otobotctl/agent/releases.py"] = _moved(real["otobotctl/agent/releases.py"], "/opt/otobot", self.opt)
        path = f"{self.host.root / 'bin'}:/usr/local/sbin"
        real["otobotctl/agent/run.py"] = _moved(real["otobotctl/agent/run.py"], "/usr/local/sbin", path)
        shapes = real["otobotctl/agent/backup/shapes.py"]
        shapes = _moved(shapes, "/var/lib/otobot/backup", self.host.state / "backup")
        real["otobotctl/agent/backup/shapes.py"] = _moved(shapes, "/etc/otobot/backup", self.jobs)
        places = "otobotctl/agent/backup/places.py"
        real[places] = _moved(real[places], "runtime: str = RUNTIME_DIR", f'runtime: str = "{self.host.root / "run"}"')
        signing = "otobotctl/agent/backup/signing.py"
        real[signing] = _moved(real[signing], "/etc/ssh", self.host.root / "ssh")
        pack.sources = cache(lambda: real)
        pack.digest.cache_clear()
        pack._archive.cache_clear()
        converging.opener = lambda _loaded, _name: self.host.open

    def start(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run a Python text in a process of its own, in which `here` is this host and cli.main leads to it."""
        begin = (
            "import sys; from pathlib import Path; from otobotctl.cli import main as cli\n"
            "from tests.backup.client_host import ClientHost\n"
            "here = ClientHost(Path(sys.argv[1])); here.patch()\n"
        )
        argv = [sys.executable, "-c", begin + script, str(self.docker.parent), *arguments]
        top = Path(__file__).parents[2]
        environment = {**os.environ, "PYTHONPATH": str(top)}
        return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, env=environment, cwd=top)

    def running(self) -> set[str]:
        """The client's services that run."""
        folder = self.docker / "running/otobot-acme"
        return {path.name for path in folder.iterdir()} if folder.exists() else set()

    def calls(self, word: str) -> list[str]:
        """The calls of docker that hold a word."""
        log = self.docker / "calls"
        return [line for line in log.read_text().splitlines() if word in line] if log.exists() else []

    def note(self) -> dict | None:
        """What the host noted of its last archive."""
        path = self.host.state / "archives/acme.json"
        return json.loads(path.read_text()) if path.exists() else None

    def archives(self) -> list[Path]:
        """What lies where final archives go, by time."""
        return sorted(path for path in self.fleet.archives("acme").glob("*") if not path.name.startswith("."))

    def read(self, path: Path):
        """The manifest of an archive that is whole; raises where it is not."""
        return check(path, keys.load(sealed.identities())[0])


def _moved(source: bytes, before: str, after: object) -> bytes:
    assert before.encode() in source
    return source.replace(before.encode(), str(after).encode(), 1)
