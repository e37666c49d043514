"""A host of one client on this machine: its agent, `docker exec`, vault and PostgreSQL are real, only Docker is not.

The vault runs with the environment that the client's own release renders; the `docker` program in the host's PATH runs
the vault's program with the same, and writes down every argument and every byte of stdin that it saw.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from functools import cache
from pathlib import Path

from otobotctl.converge import pack
from otobotctl.fleet import Fleet
from otobotctl.vault_api import contract
from otobotctl.workflows import converging, rendering
from otobotctl.workflows.desired import load
from scripts.story import embedded, vault
from tests.converge.local_door import LocalHost
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[3]
SLUG = "acme"
_SOURCES = pack.sources  # before any stand-in of ours takes its place
_DOCKER = """#!{python}
import json, os, sys
here = {here!r}
with open(here + "/docker.log", "a") as log:
    log.write(json.dumps(sys.argv[1:]) + "\\n")
if sys.argv[1] == "ps":
    if os.path.exists(here + "/env.json"):
        print("0123456789ab\\tvault-api\\nba9876543210\\ttoken-refresher")
    sys.exit()
assert sys.argv[1:3] == ["exec", "--interactive"], sys.argv
service = {{"0123456789ab": "vault-api", "ba9876543210": "token-refresher"}}[sys.argv[3]]
assert sys.argv[4:7] == ["python", "-m", "vault_api"], sys.argv
with open(here + "/env.json") as file:
    deployed = json.load(file)
port = ["--port", str(deployed["port"])] if sys.argv[7] == "call" else []
os.chdir({root!r})
os.execve({python!r}, [{python!r}, "-m", "otobotctl.vault_api", *sys.argv[7:], *port], deployed[service])
"""


def parsed(text):
    """An environment file as Compose reads it."""
    pairs = (line.partition("=")[::2] for line in text.splitlines() if line and not line.startswith("#"))
    return {name: value.removeprefix("'").removesuffix("'") for name, value in pairs}


class StandIn:
    """One host. `database` are the variables that only this machine can tell; they replace the rendered ones."""

    def __init__(self, directory, fleet, database):
        self.directory = Path(directory)
        self.fleet = fleet
        self.database = dict(database)
        self.host = LocalHost(self.directory)
        self.process = None
        python = sys.executable
        self.host.add_program("docker", _DOCKER.format(python=python, here=str(self.directory), root=str(ROOT)))

    @classmethod
    def at(cls, directory):
        """The host in a directory that holds the fleet and database.json."""
        directory = Path(directory)
        return cls(
            directory / "host", Fleet(directory / "fleet"), json.loads((directory / "database.json").read_text())
        )

    def lead_here(self, patch):
        """Lead the commands of this process here, and the agent to this host's `docker`."""
        real = dict(_SOURCES())
        before, name = b"/usr/local/sbin", "otobotctl/agent/run.py"
        assert before in real[name]
        real[name] = real[name].replace(before, f"{self.host.root / 'bin'}:".encode() + before, 1)
        patch.setattr(pack, "sources", lambda: real)
        patch.setattr(pack, "digest", cache(pack.digest.__wrapped__))
        patch.setattr(pack, "_archive", cache(pack._archive.__wrapped__))
        patch.setattr(converging, "open_door", lambda _target: self.host.open())

    @property
    def deployed(self):
        """The environments that the containers were started with, and the vault's port."""
        file = self.directory / "env.json"
        return json.loads(file.read_text()) if file.exists() else {}

    @property
    def url(self):
        return f"http://127.0.0.1:{self.deployed['port']}"

    @property
    def argvs(self):
        """Every argument that `docker` was given."""
        return (self.directory / "docker.log").read_text()

    def rendered(self, name):
        """An environment file of the client's release as the fleet says it now."""
        found = {file.path: file.content for file in rendering.release(load(self.fleet), SLUG).files}
        return parsed(found[f"env/{name}.env"].decode())

    def deploy(self, between=lambda: None):
        """What a deploy does of it: migrate, and the vault started again, where what is rendered now differs."""
        own = {name: value for name, value in self.database.items() if not name.startswith("VAULT_OWNER")}
        wanted = {service: self.rendered(service) | own for service in ("vault-api", "token-refresher")}
        if {name: value for name, value in self.deployed.items() if name != "port"} == wanted and self.runs():
            return False
        self._vault(self.rendered("vault-migrate") | self.database, "migrate")
        between()
        self.stop()
        port = embedded.free_port()
        with (self.directory / "log.jsonl").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "otobotctl.vault_api", "serve", "--host", "127.0.0.1", "--port", str(port)],
                env=wanted["vault-api"],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        (self.directory / "pid").write_text(str(self.process.pid))
        self._wait(port)
        beside = self.directory / "env.json.part"
        beside.write_text(json.dumps({**wanted, "port": port}))
        beside.replace(self.directory / "env.json")
        return True

    def runs(self):
        """Whether the vault's process is there."""
        try:
            os.kill(int((self.directory / "pid").read_text()), 0)
        except (FileNotFoundError, ProcessLookupError):
            return False
        return True

    def _vault(self, environment, *arguments):
        argv = [sys.executable, "-m", "otobotctl.vault_api", *arguments]
        ran = subprocess.run(argv, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300)
        assert ran.returncode == 0, ran.stderr

    def _wait(self, port):
        def up():
            opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with opener.open(f"http://127.0.0.1:{port}{contract.HEALTH_PATH}", timeout=30) as answer:
                return answer.status == 200

        log = self.directory / "log.jsonl"
        until(up, lambda: log.read_text()[-2000:], limit_s=vault.START_LIMIT_S, but=(OSError,))

    def stop(self):
        """End the vault, whoever started it."""
        file = self.directory / "pid"
        with suppress(FileNotFoundError, ProcessLookupError):
            pid = int(file.read_text())
            os.kill(pid, signal.SIGTERM)
            _await_end(pid)
        file.unlink(missing_ok=True)
        if self.process is not None:
            self.process.wait(60)  # ended, perhaps by another process that went on here
            self.process = None


def _await_end(pid):
    """Wait for the end of what perhaps another process has started; one that nobody waits for has ended too."""
    end = time.monotonic() + 60
    with suppress(FileNotFoundError, ProcessLookupError):
        while Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
            if time.monotonic() > end:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)


def opened(standin):
    """A connection to the stand-in's database as the owner of its tables, for whom no row is hidden."""
    import psycopg

    said = standin.database
    return psycopg.connect(
        host=said["VAULT_DATABASE_HOST"],
        port=said["VAULT_DATABASE_PORT"],
        dbname=said["VAULT_DATABASE_NAME"],
        user=said["VAULT_OWNER_USER"],
        password=said["VAULT_OWNER_PASSWORD"],
        autocommit=True,
    )
