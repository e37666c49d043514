"""Where the job runs: hosts of the lab or given ones, near or behind a slow line."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from otobotctl.transport import hostkeys
from otobotctl.transport.target import Target

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otobotctl.transport.hostkeys import HostKey

_PROXY = Path(__file__).resolve().parents[1] / "tests" / "transport" / "delay_proxy.py"


@dataclass(frozen=True)
class Place:
    """One host as root: `name`, `address`, `port`, and the private key and known_hosts that open it."""

    name: str
    address: str
    port: int
    key: Path
    known_hosts: Path

    @property
    def target(self) -> Target:
        """As otobotctl's transport takes it."""
        return Target(self.name, self.address, "root", self.port, known_hosts=self.known_hosts, identity=self.key)

    def ssh(self, *options: str) -> tuple[str, ...]:
        """A plain ssh command, up to the destination."""
        pins = ("-o", f"UserKnownHostsFile={self.known_hosts}", "-o", f"HostKeyAlias={self.name}")
        where = ("-i", str(self.key), "-p", str(self.port), "-l", "root", self.address)
        return ("ssh", "-F", "none", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR", *pins, *options, *where)

    def sh(self, script: str) -> str:
        """Run a script there, outside of what is measured."""
        done = subprocess.run((*self.ssh(), "sh"), input=script, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{self.name}: {done.stderr.strip() or done.stdout.strip()}")
        return done.stdout


@contextmanager
def lab_places(count: int, work: Path) -> Iterator[list[Place]]:
    """Fresh hosts of the project's lab (root on Debian or Ubuntu; see tests/lab)."""
    from tests.lab import lab as laboratory

    if reason := laboratory.missing():
        raise SystemExit(f"no lab: {reason}; give --host ADDRESS[:PORT] and --key")
    lab = laboratory.Lab()
    lab.open()
    try:
        places = []
        for number in range(count):
            host = lab.make()
            key = next(hostkeys.HostKey(*line.split()) for line in host.host_keys() if line.startswith("ssh-ed25519"))
            places.append(_place(f"bench-{number}", host.address, host.port, host.key, work, key))
        yield places
    finally:
        lab.close()


@contextmanager
def given_places(addresses: Sequence[str], key: Path, work: Path) -> Iterator[list[Place]]:
    """Hosts named on the command line, as ADDRESS[:PORT]; what they run must not matter: the job is undone on them."""
    places = []
    for number, written in enumerate(addresses):
        address, _, port = written.partition(":")
        target = Target(f"bench-{number}", address, "root", int(port or 22), known_hosts=work / "none")
        shown = hostkeys.fetch_keys(target)[0]
        places.append(_place(target.name, address, int(port or 22), key, work, shown))
    yield places


def _place(name: str, address: str, port: int, key: Path, work: Path, shown: HostKey) -> Place:
    known_hosts = work / "known_hosts"
    hostkeys.pin(known_hosts, name, shown)
    return Place(name, address, port, key, known_hosts)


@contextmanager
def delayed(places: Sequence[Place], round_trip_ms: float) -> Iterator[list[Place]]:
    """The same hosts with a longer way to them; 0: as they are."""
    if not round_trip_ms:
        yield list(places)
        return
    argv = [sys.executable, str(_PROXY), "--round-trip-ms", str(round_trip_ms)]
    with ExitStack() as stack:
        addresses = [f"{place.address}:{place.port}" for place in places]
        proxy = stack.enter_context(subprocess.Popen([*argv, *addresses], stdout=subprocess.PIPE, text=True))
        stack.callback(proxy.terminate)
        ports = [int(proxy.stdout.readline().split()[0]) for _ in places]
        yield [replace(place, address="127.0.0.1", port=port) for place, port in zip(places, ports, strict=True)]
