"""Drives the engine against a lab host without a fleet: from a test, or as a process of its own that can be killed."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from otobotctl.converge import engine
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.model import Stage, Step
from otobotctl.transport.ssh import SshDoor, open_door
from otobotctl.transport.target import Settings, Target

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.lab.door import Door

ME = "me@here"


@dataclass(frozen=True)
class Way:
    """How to reach one host with a connection of one's own."""

    directory: Path
    address: str
    user: str
    port: int = 22

    @classmethod
    def to(cls, host: Door, directory: Path, user: str | None = None) -> Way:
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "known_hosts").write_text("".join(f"vps-1 {key}\n" for key in host.host_keys()))
        (directory / "ssh_config").write_text(f"IdentityFile {host.key}\nIdentitiesOnly yes\n")
        return cls(directory, host.address, user or host.user, host.port)

    def open(self) -> SshDoor:
        target = Target("vps-1", self.address, self.user, self.port, known_hosts=self.directory / "known_hosts")
        return open_door(target, settings=Settings(config=self.directory / "ssh_config", persist_s=0))


@dataclass
class Heard:
    """A listener that keeps what it hears, and acts on it."""

    on: Callable[[Mapping[str, Any]], object] = lambda _: None
    records: list[Mapping[str, Any]] = field(default_factory=list)

    def event(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)
        self.on(record)

    def named(self, event: str) -> list[Mapping[str, Any]]:
        return [record for record in self.records if record["event"] == event]


def stage(name: str, *steps: Step) -> Stage:
    return Stage(name, steps)


def file_step(name: str, path: str, content: str) -> Step:
    return Step(name, spec_class("file")(path=path, content=content, mode="0644"))


def command_step(name: str, script: str, creates: str) -> Step:
    return Step(name, spec_class("command")(argv=("sh", "-c", script), creates=creates))


def waiting_step(root: str) -> Step:
    """A step that counts how often it ran, says so, and ends once there is a file `go`."""
    script = f"mkdir -p {root}; echo ran >>{root}/runs; echo begun; while [ ! -e {root}/go ]; do sleep 0.1; done; touch {root}/done"
    return command_step("wait/wait", script, f"{root}/done")


def waiting_stages(root: str) -> tuple[Stage, ...]:
    """The waiting step and a file behind it, in the same stage."""
    return (stage("wait", waiting_step(root), file_step("wait/after", f"{root}/after", "after\n")),)


def converge(way: Way, *stages: Stage, who: str = ME, **more: Any) -> engine.HostResult:
    patience = engine.Patience(longest_pause_s=0.5)  # a host of the lab is back in seconds
    return engine.converge_host(way.open, stages, who=who, patience=patience, **more)


def main() -> None:
    """Converge the waiting stages of a root in a process of its own, telling each event on stdout."""
    way, root = json.loads(sys.argv[1]), sys.argv[2]
    heard = Heard(lambda record: print(record["event"], flush=True))
    converge(Way(Path(way.pop("directory")), **way), *waiting_stages(root), listener=heard)


if __name__ == "__main__":
    main()
