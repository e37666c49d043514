"""A real sshd for the room's tests. In CI it must be there; elsewhere its absence skips loudly."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from otobotctl.transport import hostkeys
from otobotctl.transport.ssh import Settings, open_door
from tests.transport import sshd


@pytest.fixture(scope="session")
def server(tmp_path_factory):
    """An sshd on 127.0.0.1 for the whole room; tests count in its log from where they begin."""
    if sshd.program() is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs openssh-server")
        pytest.skip("there is no sshd: apt install openssh-server")
    with sshd.running(tmp_path_factory.mktemp("sshd")) as running:
        yield running


@pytest.fixture
def sockets(monkeypatch):
    """A private directory for control sockets, short enough for their limit."""
    with tempfile.TemporaryDirectory(prefix="oc-", dir="/tmp") as directory:
        monkeypatch.setenv("XDG_RUNTIME_DIR", directory)
        yield Path(directory) / "otobotctl"


@pytest.fixture
def known_hosts(tmp_path, server):
    """A known_hosts that pins the server as vps-1; its path has a space, which ssh would split unquoted."""
    path = tmp_path / "known hosts"
    hostkeys.pin(path, "vps-1", server.host_key)
    return path


@pytest.fixture
def opened(sockets):
    """open_door whose doors and shared connections end with the test."""
    doors = []

    def opener(target, **settings):
        door = open_door(target, settings=Settings(**({"persist_s": 0, "config": Path("/dev/null")} | settings)))
        doors.append(door)
        return door

    yield opener
    for door in doors:
        door.close()
        door.drop()
