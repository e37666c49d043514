"""An operator whose names resolve as a test says and whose clock may be wrong, and ways to break a deployed client."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tests.e2e.deployed import in_database
from tests.e2e.operator import Operator
from tests.lab.host import Host

CURRENT = "/opt/otobot/acme/current"
COMPOSE = f"docker compose --project-name otobot-acme --project-directory {CURRENT} --file {CURRENT}/compose.yaml"
_LATE = "import sys, time; real = time.time; time.time = lambda: real() + {seconds}; from otobotctl.cli.main import main; sys.exit(main(sys.argv[1:]))"


class Patient(Operator):
    """Runs each command where /etc/hosts is a file of the test's: a mount namespace of its own."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.hosts = directory / "hosts"
        self.hosts.write_text("127.0.0.1 localhost\n")
        self.clock_s = 0
        self.asks_silence = False
        self.trusts = ""
        (directory / "nsswitch").write_text("passwd: files\ngroup: files\nhosts: files\n")
        (directory / "silence").write_text("passwd: files\ngroup: files\nhosts: files dns\n")
        # Nothing answers there.
        (directory / "resolv").write_text("nameserver 127.0.0.123\noptions timeout:1 attempts:1\n")

    def argv(self, *arguments: str) -> list[str]:
        words = super().argv(*arguments)
        if self.clock_s:
            words = [sys.executable, "-c", _LATE.format(seconds=self.clock_s), *words[3:]]
        return ["unshare", "--mount", "sh", "-c", self._names(), str(self.hosts.parent), *words]

    def _names(self) -> str:
        """Where names come from: the test's file, and where it `asks_silence` also a name server that says nothing."""
        ways = {"/etc/hosts": "hosts", "/etc/nsswitch.conf": "silence" if self.asks_silence else "nsswitch"}
        if self.asks_silence:
            ways["/etc/resolv.conf"] = "resolv"
        return " && ".join((*(f'mount --bind "$0/{own}" {path}' for path, own in ways.items()), 'exec "$@"'))

    def environment(self) -> dict[str, str]:
        """Believes the authority whose certificate is in the file `trusts`, and no other, where one is set."""
        own = {"SSL_CERT_FILE": self.trusts} if self.trusts else {}
        return super().environment() | own

    def resolve(self, *lines: str) -> None:
        """What this machine knows of names: lines of a hosts file."""
        self.hosts.write_text("\n".join(("127.0.0.1 localhost", *lines)) + "\n")

    def doctor(self, *arguments: str, code: int) -> Any:
        """The answer about the one host; the command ends with this code."""
        import json

        done = self.run("doctor", *arguments, "--json", check=False)
        assert done.returncode == code, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        (host,) = json.loads(done.stdout)["data"]["hosts"]
        assert host["healthy"] is (code == 0)
        return host


def ill(host: dict[str, Any]) -> set[tuple[str, str]]:
    """Who has what: (check, subject) of the findings that somebody must act on."""
    return {(row["check"], row["subject"]) for row in host["findings"] if row["severity"] != "info"}


def seen(host: dict[str, Any], check: str, subject: str) -> str:
    """What a check saw of a subject."""
    return "; ".join(row["seen"] for row in host["findings"] if (row["check"], row["subject"]) == (check, subject))


def as_root(host: Host, *lines: str) -> str:
    """Run lines of shell as root, each of which must end well."""
    return host.ssh("set -e\n" + "\n".join(lines), user="root", timeout_s=300).stdout


def query(host: Host, sql: str, database: str = "otobot_frontend") -> str:
    """What the superuser's psql says."""
    return in_database(host, sql, database)
