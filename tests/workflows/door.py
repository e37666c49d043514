"""A fleet whose hosts are scripted: each answers one observation, or cannot be reached."""

from __future__ import annotations

import json
import time

from otobotctl.errors import HostUnreachableError
from otobotctl.transport.base import Finished

GIB = 1 << 30


def facts(**changed):
    """A host that is well: what `host_status` answers."""
    return {
        "system": "Debian GNU/Linux 13 (trixie)",
        "kernel": "6.12.0",
        "uptime_s": 90000.0,
        "load": [0.5, 0.4, 0.3],
        "cpus": 2,
        "memory": {"total": 4 * GIB, "available": 3 * GIB},
        "swap": {"total": 0, "available": 0},
        "disks": [
            {"path": "/", "size": 40 * GIB, "used": 10 * GIB, "available": 30 * GIB, "inodes": 100, "inodes_free": 90}
        ],
        "reboot_required": False,
        "docker_error": None,
        "releases": {},
        "certificates": {},
        **changed,
    }


def release(number, digest, services, **trouble):
    return {"current": number, "digest": digest, "healthy": number, "services": services, "trouble": trouble}


class Hosts:
    """Stands in for `open_door`: facts by host name; a host without any is gone."""

    def __init__(self, answers, last=None):
        self.answers = answers
        self.last = last
        self.asked = []

    def __call__(self, target):
        return _Door(self, target.name)


class _Door:
    def __init__(self, hosts, name):
        self.name = name
        self._hosts = hosts

    def execute(self, argv, *, silence_s=15.0):
        if self.name not in self._hosts.answers:
            raise HostUnreachableError(f"{self.name}: connection refused", hint="is it on?")
        return _Channel(self._hosts, self.name)

    def close(self):
        """Nothing is open."""


class _Channel:
    def __init__(self, hosts, name):
        self._hosts = hosts
        self._name = name

    def send(self, data):
        self._hosts.asked.append((self._name, json.loads(data)))

    def lines(self):
        end = {"end": True, "boot_id": "b", "holder": None, "last": self._hosts.last}
        for record in ({"ready": True}, {"answer": 0, "facts": self._hosts.answers[self._name]}, end):
            yield json.dumps(record).encode()

    def finish(self):
        return Finished(0, "")

    def close(self):
        """Nothing runs."""


def run(state):
    return {"run": "r", "who": "me@here", "at": time.time(), "stage": "docker", "state": state, "step": "docker/engine"}
