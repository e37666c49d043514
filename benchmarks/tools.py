"""How each tool does the job: files written once, then one argv that is timed."""

# ruff: noqa: D102  # what an override promises stands at Tool

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from abc import ABC, abstractmethod
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import job

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.where import Place

_REPOSITORY = Path(__file__).resolve().parents[1]


def _checked(argv: Sequence[str], **options: Any) -> str:
    done = subprocess.run(argv, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise SystemExit(f"{argv[0]} ended with {done.returncode}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    return done.stdout


class Tool(ABC):
    """One way to do the job. `run` is timed from outside; what it returns are measurements of its own."""

    name = ""
    slow = False  # takes part in fewer rounds

    def __init__(self, work: Path) -> None:
        self.work = work

    def prepare(self, places: Sequence[Place]) -> None:  # noqa: B027  # some need nothing
        """Write what `run` needs."""

    @abstractmethod
    def run(self, places: Sequence[Place]) -> dict[str, float]:
        """Make every place what the job says; nothing is left open that `forget` does not close."""

    def forget(self, places: Sequence[Place]) -> None:  # noqa: B027  # some keep none
        """Close the connections that are kept for a next run."""


class Raw(Tool):
    """One careful, idempotent shell script through `ssh HOST sh`: the least that a tool could cost."""

    name = "raw ssh"
    options: tuple[str, ...] = ()

    def run(self, places: Sequence[Place]) -> dict[str, float]:
        with ThreadPoolExecutor(len(places)) as pool:
            list(pool.map(self._one, places))
        return {}

    def _one(self, place: Place) -> None:
        _checked((*place.ssh(*self.options), "sh"), input=raw_script())


class RawShared(Raw):
    """The same over a connection that an earlier command left open."""

    name = "raw ssh, connection open"

    def __init__(self, work: Path) -> None:
        super().__init__(work)
        self.options = ("-o", "ControlMaster=auto", "-o", f"ControlPath={work}/m%C", "-o", "ControlPersist=60")

    def forget(self, places: Sequence[Place]) -> None:
        for place in places:
            subprocess.run(place.ssh(*self.options, "-O", "exit"), capture_output=True, check=False)


class Otobotctl(Tool):
    """A Python process of its own that reads the job and converges every host, each in its thread."""

    name = "otobotctl"
    persist_s = 0

    def prepare(self, places: Sequence[Place]) -> None:
        hosts = [
            {"name": p.name, "address": p.address, "port": p.port, "key": str(p.key), "known_hosts": str(p.known_hosts)}
            for p in places
        ]
        (self.work / "hosts.json").write_text(json.dumps(hosts))

    def run(self, places: Sequence[Place]) -> dict[str, float]:  # noqa: ARG002  # prepare wrote them down
        return json.loads(self._call("run"))

    def forget(self, places: Sequence[Place]) -> None:  # noqa: ARG002
        self._call("forget")

    def _call(self, order: str) -> str:
        argv = (sys.executable, "-m", "benchmarks.converging", order, str(self.work / "hosts.json"))
        environment = dict(os.environ, OTOBOTCTL_SSH_PERSIST=str(self.persist_s), OTOBOTCTL_SSH_CONFIG="/dev/null")
        return _checked(argv, cwd=_REPOSITORY, env=environment)


class OtobotctlShared(Otobotctl):
    """The default: the connection of the command before is still there."""

    name = "otobotctl, connection open"
    persist_s = 60


class Pyinfra(Tool):
    """`pyinfra -y inventory.py deploy.py`."""

    name = "pyinfra"
    slow = True

    def __init__(self, work: Path, peers: Path) -> None:
        super().__init__(work)
        self.peers = peers

    def prepare(self, places: Sequence[Place]) -> None:
        _write_files(self.work)
        hosts = [
            (
                place.name,
                {
                    "ssh_hostname": place.address,
                    "ssh_port": place.port,
                    "ssh_user": "root",
                    "ssh_key": str(place.key),
                    "ssh_strict_host_key_checking": "off",
                    "ssh_config_file": "/dev/null",
                },
            )
            for place in places
        ]
        (self.work / "inventory.py").write_text(f"hosts = {hosts!r}\n")
        (self.work / "deploy.py").write_text(pyinfra_deploy(self.work))

    def run(self, places: Sequence[Place]) -> dict[str, float]:  # noqa: ARG002
        environment = dict(os.environ, HOME=str(self.work))
        _checked(
            (str(self.peers / "bin" / "pyinfra"), "-y", "inventory.py", "deploy.py"), cwd=self.work, env=environment
        )
        return {}


class Ansible(Tool):
    """`ansible-playbook` with pipelining, no fact gathering and its connections kept, as its own guide advises."""

    name = "ansible, pipelining"
    slow = True

    def __init__(self, work: Path, peers: Path) -> None:
        super().__init__(work)
        self.peers = peers

    def prepare(self, places: Sequence[Place]) -> None:
        _write_files(self.work)
        lines = [
            f"{p.name} ansible_host={p.address} ansible_port={p.port} ansible_user=root"
            f" ansible_ssh_private_key_file={p.key} ansible_python_interpreter=/usr/bin/python3"
            for p in places
        ]
        (self.work / "inventory.ini").write_text("\n".join(lines) + "\n")
        (self.work / "playbook.json").write_text(json.dumps(ansible_playbook(self.work), indent=1))
        (self.work / "ansible.cfg").write_text(
            f"[defaults]\nforks = 10\nhost_key_checking = False\nlocal_tmp = {self.work}/tmp\n"
            f"[ssh_connection]\npipelining = True\ncontrol_path_dir = {self.work}/a\n"
            "ssh_args = -F none -o ControlMaster=auto -o ControlPersist=60s\n"
        )

    def run(self, places: Sequence[Place]) -> dict[str, float]:  # noqa: ARG002
        argv = (str(self.peers / "bin" / "ansible-playbook"), "-i", "inventory.ini", "playbook.json")
        environment = dict(os.environ, HOME=str(self.work), ANSIBLE_CONFIG=str(self.work / "ansible.cfg"))
        _checked(argv, cwd=self.work, env=environment)
        return {}

    def forget(self, places: Sequence[Place]) -> None:  # noqa: ARG002
        directory = self.work / "a"
        for socket in directory.iterdir() if directory.exists() else ():
            argv = ("ssh", "-F", "none", "-o", f"ControlPath={socket}", "-O", "exit", "any")
            subprocess.run(argv, capture_output=True, check=False)


def raw_script() -> str:
    """The job in shell: looks first, writes only what differs, secrets private from their first byte."""
    lines = ["set -eu", *(f"{shlex.join(fact)} >/dev/null" for fact in job.FACTS)]
    lines.append(
        f"dpkg-query -W -f '${{db:Status-Status}}\\n' {' '.join(job.PACKAGES)} | grep -qvx installed"
        f" && apt-get install -qy {' '.join(job.PACKAGES)}"
    )
    lines.append(f"getent group {job.GROUP} >/dev/null || groupadd {job.GROUP}")
    lines.append(f"id -u {job.USER} >/dev/null 2>&1 || useradd -rM -G {job.GROUP} {job.USER}")
    lines += [f"[ -d {path} ] || mkdir -m 0755 {path}" for path in job.DIRECTORIES]
    lines.append(
        'put() { printf %s "$3" | cmp -s - "$1" && [ "$(stat -c 0%a:%U "$1")" = "$2:root" ] && return 0;'
        ' (umask 077; printf %s "$3" >"$1.new"); chmod "$2" "$1.new"; mv "$1.new" "$1"; changed=1; }'
    )
    lines += [f"put {file.path} {file.mode} {shlex.quote(file.content)}" for file in job.FILES[:-1]]
    lines.append(f'[ "$(readlink {job.LINK})" = {job.LINK_TARGET} ] || ln -sfn {job.LINK_TARGET} {job.LINK}')
    lines.append(f"grep -qx {job.LINE} {job.LINE_PATH} || echo {job.LINE} >>{job.LINE_PATH}")
    unit = job.FILES[-1]
    lines.append(f"changed=; put {unit.path} {unit.mode} {shlex.quote(unit.content)}")
    lines.append('[ -z "$changed" ] || systemctl daemon-reload')
    lines.append(f"systemctl is-enabled -q {job.UNIT} || systemctl enable -q {job.UNIT}")
    lines.append(f"systemctl is-active -q {job.UNIT} || systemctl start {job.UNIT}")
    return "\n".join(lines) + "\n"


def pyinfra_deploy(work: Path) -> str:
    """The job in pyinfra's operations."""
    lines = [
        "from pyinfra import host",
        "from pyinfra.facts.server import Command",
        "from pyinfra.operations import apt, files, server, systemd",
        *(f"host.get_fact(Command, {shlex.join(fact)!r})" for fact in job.FACTS),
        f"apt.packages(name='packages', packages={list(job.PACKAGES)!r})",
        f"server.group(name='group', group={job.GROUP!r})",
        f"server.user(name='user', user={job.USER!r}, groups=[{job.GROUP!r}], system=True, ensure_home=False)",
    ]
    lines += [f"files.directory(name={path!r}, path={path!r}, mode='755')" for path in job.DIRECTORIES]
    for file in job.FILES:
        source = str(_source(work, file))
        lines.append(
            f"files.put(name={file.path!r}, src={source!r}, dest={file.path!r}, mode={file.mode.lstrip('0')!r})"
        )
    lines += [
        f"files.link(name='link', path={job.LINK!r}, target={job.LINK_TARGET!r})",
        f"files.line(name='line', path={job.LINE_PATH!r}, line={job.LINE!r})",
        f"systemd.service(name='unit', service={job.UNIT!r}, running=True, enabled=True)",
    ]
    return "\n".join(lines) + "\n"


def ansible_playbook(work: Path) -> list[dict[str, Any]]:
    """The job in Ansible's modules."""
    tasks: list[dict[str, Any]] = [
        {"ansible.builtin.command": {"argv": list(fact)}, "changed_when": False} for fact in job.FACTS
    ]
    tasks.append({"ansible.builtin.apt": {"name": list(job.PACKAGES)}})
    tasks.append({"ansible.builtin.group": {"name": job.GROUP}})
    tasks.append(
        {
            "ansible.builtin.user": {
                "name": job.USER,
                "groups": job.GROUP,
                "append": True,
                "system": True,
                "create_home": False,
            }
        }
    )
    tasks += [
        {"ansible.builtin.file": {"path": path, "state": "directory", "mode": "0755"}} for path in job.DIRECTORIES
    ]
    tasks += [
        {"ansible.builtin.copy": {"src": str(_source(work, file)), "dest": file.path, "mode": file.mode}}
        for file in job.FILES
    ]
    tasks.append({"ansible.builtin.file": {"path": job.LINK, "src": job.LINK_TARGET, "state": "link"}})
    tasks.append({"ansible.builtin.lineinfile": {"path": job.LINE_PATH, "line": job.LINE}})
    tasks.append({"ansible.builtin.systemd_service": {"name": job.UNIT, "state": "started", "enabled": True}})
    return [{"hosts": "all", "gather_facts": False, "tasks": tasks}]


def _source(work: Path, file: job.File) -> Path:
    return work / "files" / Path(file.path).name


def _write_files(work: Path) -> None:
    (work / "files").mkdir(exist_ok=True)
    for file in job.FILES:
        _source(work, file).write_text(file.content)
