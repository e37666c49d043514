"""A stand-in host for each test, and stages made of the simplest kinds."""

from __future__ import annotations

import sys

import pytest

from tests.converge.local_door import LocalHost
from tests.converge.story import Heard


@pytest.fixture
def host(tmp_path):
    if sys.platform != "linux":
        pytest.skip("the agent runs on Linux only")
    return LocalHost(tmp_path / "host")


@pytest.fixture
def heard():
    return Heard()
