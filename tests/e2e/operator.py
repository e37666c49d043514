"""An operator at a terminal: a fleet in a temporary directory, and the real command as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.lab import rewind
from tests.lab.host import Host

TIMEOUT_S = 900


class Operator:
    """Runs `otobotctl` in a fleet, with a home, keys and an ssh configuration of its own."""

    def __init__(self, directory: Path) -> None:
        self.folder = directory
        self.home = directory / "home"
        self.fleet = directory / "fleet"
        self.home.mkdir(mode=0o700)
        self.ssh_config = directory / "ssh_config"
        self.ssh_config.write_text("")
        self.said: list[str] = []
        rewind.keepers.add(self)

    def environment(self) -> dict[str, str]:
        """Nothing of the person who runs the tests."""
        return {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "OTOBOTCTL_SSH_CONFIG": str(self.ssh_config),
            "OTOBOTCTL_SSH_PERSIST": "0",
        }

    def argv(self, *arguments: str) -> list[str]:
        """The command line of a call in this fleet."""
        return [sys.executable, "-m", "otobotctl", "--fleet", str(self.fleet), *arguments]

    def run(
        self, *arguments: str, stdin: str = "", check: bool = True, limit_s: float = TIMEOUT_S
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end; what it said is kept in `said`."""
        done = subprocess.run(
            self.argv(*arguments),
            env=self.environment(),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=limit_s,
            check=False,
        )
        self.said += [done.stdout, done.stderr]
        assert "Traceback" not in done.stderr
        if check and done.returncode:
            # Raised, not asserted: pytest would repeat the streams after the last words, which its summary shows.
            raise AssertionError(f"{arguments} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done

    def data(self, *arguments: str) -> Any:
        """The `data` of a command's JSON answer."""
        return json.loads(self.run(*arguments, "--json").stdout)["data"]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start a command and leave it running; its output is thrown away."""
        return subprocess.Popen(
            self.argv(*arguments),
            env=self.environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def init(self) -> None:
        """Make the fleet."""
        subprocess.run(
            [sys.executable, "-m", "otobotctl", "init", str(self.fleet)],
            env=self.environment(),
            check=True,
            capture_output=True,
            timeout=TIMEOUT_S,
        )

    def add_host(self, name: str, host: Host) -> None:
        """Register a host of the lab and pin its key, as an operator who has the fingerprint does."""
        self.ssh_config.write_text(f"Host *\n  IdentityFile {host.key}\n  IdentitiesOnly yes\n")
        self.run("host", "add", name, "--address", host.address, "--user", host.user, "--docker", "distribution")
        self.run("host", "trust", name, "--yes")

    def create(self, slug: str, host: str, domain: str, *services: str) -> None:
        """One command, from a name to a healthy client with these services."""
        chosen = [word for service in services for word in ("--service", service)]
        self.run(
            "client", "create", slug, "--company", slug.upper(), "--email", f"it@{domain}", "--host", host,
            "--domain", domain, "--tls", "self-signed", *chosen, "--deploy", "--json",
        )  # fmt: skip

    def secrets(self, slug: str) -> dict[str, str]:
        """A client's secrets, opened with the stock `age` and the operator's own identity."""
        identity = self.home / ".config/otobotctl/identity.txt"
        sealed = self.fleet / "clients" / slug / "secrets.age"
        opened = subprocess.run(
            ["age", "--decrypt", "--identity", str(identity), str(sealed)], capture_output=True, timeout=60, check=True
        )
        return {entry["name"]: entry["value"] for entry in _entries(json.loads(opened.stdout))}


def _entries(document: dict[str, Any]) -> list[dict[str, Any]]:
    found = document["secrets"]
    return [{"name": name, **entry} for name, entry in found.items()] if isinstance(found, dict) else list(found)
