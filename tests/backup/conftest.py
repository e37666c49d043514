"""One deployed client on a host of this machine."""

from __future__ import annotations

import os
import sys

import pytest

from otobotctl.converge import pack
from otobotctl.workflows import converging
from tests.backup.client_host import ClientHost


@pytest.fixture
def client(tmp_path, monkeypatch, capsys):
    """A ClientHost that the CLI of this process is led to."""
    if sys.platform != "linux":
        pytest.skip("the agent runs on Linux only")
    for name in ("HOME", "OTOBOTCTL_IDENTITY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
    monkeypatch.setattr(pack, "sources", pack.sources)
    monkeypatch.setattr(converging, "opener", converging.opener)
    here = ClientHost(tmp_path)
    here.make()
    here.patch()
    capsys.readouterr()
    yield here
    monkeypatch.undo()
    pack.digest.cache_clear()
    pack._archive.cache_clear()
