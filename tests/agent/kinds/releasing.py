"""What the tests of compose_release share: wanted releases, a stand-in for docker, a run that may be killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path

import msgspec

from otobotctl.agent import bringing, files, releases, run, shell
from otobotctl.agent.kinds import compose_release
from otobotctl.plan.kinds.compose_release import ComposeReleaseSpec

MODEL = {
    "services": {
        "web": {"image": "lab/web:1", "depends_on": {"init": {"condition": "service_completed_successfully"}}},
        "init": {"image": "lab/init:1"},
        "tool": {"image": "lab/tool:1", "deploy": {"replicas": 0}},
    }
}


def container(service, release, state="running", health="", code=0):
    return {
        "Service": service,
        "Name": f"otobot-acme-{service}-1",
        "State": state,
        "Health": health,
        "ExitCode": code,
        "release": release,
    }


def wanted(number, *, fails=False, invalid=False, **more):
    """The spec of rendering `number`; `fails`: its web container is unhealthy."""
    containers = [
        container("web", number, health="unhealthy" if fails else "healthy"),
        container("init", number, state="exited"),
    ]
    contents = {
        "compose.yaml": json.dumps(MODEL),
        "ps.jsonl": "\n".join(json.dumps(one) for one in containers),
        "conf/site.conf": f"server {number};\n",
        **({"fails": ""} if fails else {}),
        **({"invalid": ""} if invalid else {}),
    }
    listed = [{"path": path, "content": text} for path, text in contents.items()]
    listed.append({"path": "env/web.env", "content": f"PASSWORD=hidden{number}\n", "mode": "0600", "secret": True})
    params = {
        "client": "acme",
        "project": "otobot-acme",
        "files": listed,
        "digest": f"digest-{number}",
        "wait_s": 5,
        **more,
    }
    return msgspec.convert(params, ComposeReleaseSpec)


class Host:
    """A directory that stands for a host: /opt/otobot, and what the stand-in for docker remembers."""

    def __init__(self, root: Path, memory: Path, monkeypatch) -> None:
        self.root, self.fake, self.said = memory / "opt", memory / "fake", []
        programs = root / "bin"
        for folder in (self.root, self.fake, programs):
            folder.mkdir(parents=True)
        shutil.copy(Path(__file__).with_name("fake_docker.sh"), programs / "docker")
        path = f"{programs}:{run.PATH}"
        monkeypatch.setattr(run, "PATH", path)
        monkeypatch.setattr(shell, "PATH", path)
        monkeypatch.setenv("FAKE", str(self.fake))
        monkeypatch.setenv("PATH", path)  # where Popen looks for the program itself
        monkeypatch.setattr(releases, "ROOT", str(self.root))
        monkeypatch.setattr(bringing, "SETTLE_S", 0.0)
        monkeypatch.setattr(os, "fsync", lambda _descriptor: None)  # a kill -9 loses no page cache, and disks are slow
        # Whoever runs the tests owns what they write.
        monkeypatch.setattr(files, "uid_of", lambda _name: os.getuid())
        monkeypatch.setattr(files, "gid_of", lambda _name: os.getgid())

    def apply(self, spec) -> None:
        compose_release.apply(json.loads(json.dumps(spec.wire())), run.Run(self.said.append))

    def changes(self, spec):
        facts = compose_release.probe(json.loads(json.dumps(spec.question())))
        return [change.what for change in spec.compare(json.loads(json.dumps(facts)))]

    def containers(self):
        """Which release each container is of."""
        path = self.fake / "ps"
        if not path.exists():
            return set()
        return {json.loads(line)["release"] for line in path.read_text().splitlines()}

    def calls(self, word):
        path = self.fake / "calls"
        return [line for line in path.read_text().splitlines() if f" {word}" in f" {line}"] if path.exists() else []

    def releases(self):
        return sorted(path.name for path in (self.root / "acme" / "releases").iterdir())

    def current(self):
        return (self.root / "acme" / "current" / "conf" / "site.conf").read_text()

    def apply_killed(self, spec, at: int) -> bool:
        """Apply in a child process that gets kill -9 just before its `at`-th change of the host; True if it got there."""
        child = os.fork()
        if child == 0:
            sys.addaudithook(_killer(at))
            try:
                self.apply(spec)
            except run.StepError:
                os._exit(1)
            finally:
                os._exit(0)
        status = os.waitpid(child, 0)[1]
        return os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL


def _killer(at: int):
    seen = 0

    def hook(event, args):
        nonlocal seen
        creates = event == "open" and isinstance(args[2], int) and args[2] & os.O_CREAT
        if creates or event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.symlink", "subprocess.Popen"):
            seen += 1
            if seen == at:
                os.kill(os.getpid(), signal.SIGKILL)

    return hook
