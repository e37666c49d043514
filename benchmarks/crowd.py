"""Many hosts of one fleet, made what they should be; the fleet, its keys and its programs are the benchmark's own."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from benchmarks import spent
from otobotctl import data
from otobotctl.transport import hostkeys
from tests.lab import light
from tests.lab.light import LightHost

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tests.lab.host import Host

    Door = LightHost | Host

LIGHT = "light"
_REPOSITORY = Path(__file__).resolve().parents[1]
# These need no systemd.
_KINDS = {"command", "directory", "file", "group", "line", "package", "swap", "symlink", "sysctl", "user"}
_THERE = ["ca-certificates", "curl", "gnupg", "openssl|curl", "python3", "sudo", "procps", "logrotate"]

_FOLDERS = ("/etc/docker", "/etc/fail2ban", "/etc/fail2ban/jail.d")  # which packages would bring


def playbook() -> dict[str, Any]:
    """The stages of a client VPS, without the steps that a light host cannot do and the packages it does not have."""
    whole = yaml.safe_load((data.data_dir("playbooks") / "vps.yaml").read_text())
    made = [{"name": path, "directory": {"path": path, "mode": "0755"}} for path in _FOLDERS]
    stages = [{"name": "folders", "steps": made}]
    for stage in whole["stages"]:
        steps = [step for step in stage["steps"] if _KINDS.intersection(step) and "for_each" not in step]
        steps = [step for step in steps if "systemctl" not in step.get("command", {}).get("argv", ())]
        for step in steps:
            if "package" in step:
                step["package"] = {"names": _THERE}
        if steps and "for_each" not in stage:
            stages.append({"name": stage["name"], "steps": steps})
    return {"stages": stages}


class Crowd:
    """A fleet of hosts; `apply` is a whole command."""

    def __init__(self, work: Path, hosts: Sequence[Door], playbook_name: str) -> None:
        self.work = work
        self.path = os.environ["PATH"]
        self.hosts = hosts
        self.programs = work / "programs"
        self._copy_programs()
        self.fleet = work / "fleet"
        self.home = work / "home"
        self.home.mkdir(mode=0o700)
        self.ssh_config = work / "ssh_config"
        self.ssh_config.write_text(f"Host *\n  IdentityFile {hosts[0].key}\n  IdentitiesOnly yes\n")
        self._run("init", str(self.fleet))
        self.tags: dict[str, int] = {}
        self._playbook = playbook_name
        self._write()

    def tag(self, count: int) -> None:
        """Let a tag name the first so many hosts."""
        self.tags[f"first-{count}"] = count
        self._write()

    def log_in_with(self, tree: Path) -> None:
        """Use the ssh of another Debian, with its own libraries, from its tree."""
        libraries = [str(path.parent) for path in tree.glob("usr/lib/*/libc.so.6")]
        loader = next(tree.glob("usr/lib/*/ld-linux-*.so.*"))
        programs = self.work / "ssh-of-another"
        programs.mkdir()
        words = shlex.join([str(loader), "--library-path", ":".join(libraries), str(tree / "usr/bin/ssh")])
        (programs / "ssh").write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        (programs / "ssh").chmod(0o755)
        self.path = f"{programs}:{self.path}"

    def provision(self) -> None:
        """Make every host what the fleet says, and see that they then are."""
        self.apply(len(self.hosts), 0, unchanged=False)
        self.apply(len(self.hosts), 0)

    def apply(self, count: int, kept_s: int, *, unchanged: bool = True) -> spent.Done:
        """`host apply` of the first `count` hosts; connections stay for `kept_s` seconds. It must change nothing."""
        which = ("--all",) if count == len(self.hosts) else ("--tag", f"first-{count}")
        done = self._run("--fleet", str(self.fleet), "host", "apply", *which, "--json", kept_s=kept_s)
        answer = json.loads(done.stdout)["data"]["hosts"]
        executions = [host["executions"] for host in answer]
        if unchanged and (len(answer) != count or set(executions) != {1}):
            raise SystemExit(f"not a no-op of {count} hosts: executions {executions}")
        return done

    def forget(self) -> None:
        """Close the connections that are kept."""
        for socket in (self.work / "otobotctl").glob("*"):
            argv = ("ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "any")
            subprocess.run(argv, capture_output=True, check=False)

    def namespaces(self) -> set[str]:
        """The hosts' pid namespaces."""
        return {_namespace(host) for host in self.hosts}

    def _run(self, *arguments: str, kept_s: int = 0) -> spent.Done:
        environment = {
            "PATH": self.path,
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "XDG_RUNTIME_DIR": str(self.work),
            "PYTHONPATH": str(self.programs),
            "OTOBOTCTL_SSH_CONFIG": str(self.ssh_config),
            "OTOBOTCTL_SSH_PERSIST": str(kept_s),
        }
        done = spent.measured(sys.executable, arguments, environment, self.work)
        if done.status:
            raise SystemExit(f"otobotctl {' '.join(arguments)} ended with {done.status}\n{done.stdout}\n{done.stderr}")
        return done

    def _copy_programs(self) -> None:
        package = self.programs / "otobotctl"
        shutil.copytree(_REPOSITORY / "otobotctl", package, ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("templates", "playbooks"):
            shutil.copytree(data.data_dir(name), package / "_data" / name)
        (package / "_data" / "playbooks" / f"{LIGHT}.yaml").write_text(yaml.safe_dump(playbook(), sort_keys=False))

    def _write(self) -> None:
        """The manifest with every host, and their keys pinned."""
        path = self.fleet / "clients-config.json"
        manifest = json.loads(path.read_text())
        manifest["hosts"] = {
            f"bench-{number}": {
                "address": host.address,
                "user": host.user,
                "port": host.port,
                "docker": "distribution",
                "playbook": self._playbook,
                "tags": [tag for tag, count in self.tags.items() if number < count],
            }
            for number, host in enumerate(self.hosts)
        }
        path.write_text(json.dumps(manifest, indent=2) + "\n")
        for name, host in zip(manifest["hosts"], self.hosts, strict=True):
            key = next(hostkeys.HostKey(*line.split()) for line in host.host_keys() if line.startswith("ssh-ed25519"))
            hostkeys.pin(self.fleet / "known_hosts", name, key)


def _namespace(host: Door) -> str:
    if isinstance(host, LightHost):
        return host.pid_namespace()
    return str(Path(f"/proc/{host.leader()}/ns/pid").readlink())


@contextmanager
def light_hosts(count: int) -> Iterator[list[Door]]:
    """Debian trees with sshd alone (tests/lab/light.py)."""
    if reason := light.missing():
        raise SystemExit(f"no light hosts: {reason}")
    hosts: list[LightHost] = []
    try:
        for _ in range(count):  # not in threads: a host dies with the thread that started it
            hosts.append(LightHost())
            hosts[-1].start()
        yield list(hosts)
    finally:
        for host in hosts:
            host.destroy()


@contextmanager
def lab_hosts(count: int, work: Path) -> Iterator[list[Door]]:
    """Hosts of the project's lab (root on Debian or Ubuntu): one is provisioned, the others are its copies."""
    from tests.lab import bases, pool
    from tests.lab import lab as laboratory

    if reason := laboratory.missing():
        raise SystemExit(f"no lab: {reason}")
    lab = laboratory.Lab()
    lab.open()
    name = f"fleet-{os.getpid()}"
    try:
        first = lab.make("docker")
        first_work = work / "first"
        first_work.mkdir()
        Crowd(first_work, [first], "vps").provision()
        first.shut_down()
        bases.keep(first, name)
        lab.destroy(first)
        yield [lab.boot(name) for _ in range(count)]
    finally:
        for host in tuple(lab.hosts):
            lab.destroy(host)
        base = pool.Pool.find(name)
        if base is not None:
            pool.delete(base)
        lab.close()
