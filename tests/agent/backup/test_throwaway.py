"""What a drill asks before it fills a disk."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otobotctl.agent.backup import throwaway
from otobotctl.agent.backup.throwaway import DrillError, refuse_without_room


@pytest.fixture(autouse=True)
def _disk(monkeypatch):
    """One of 100 GB, 10 GB of them free, Docker's."""
    disks = {"/docker": SimpleNamespace(f_bavail=10, f_blocks=100, f_frsize=10**9)}
    monkeypatch.setattr(throwaway, "docker_root", lambda: "/docker")
    monkeypatch.setattr(throwaway, "os", SimpleNamespace(statvfs=disks.__getitem__))


def test_a_drill_leaves_a_twentieth_of_the_disk():
    """Of 10 GB that are free on one of 100, it may take 5."""
    refuse_without_room(5e9, "a drill")


def test_a_drill_that_would_fill_the_disk_is_refused_in_words():
    """What it needs and what is there."""
    told = "^a drill needs about 5.1 GB beside a twentieth of the disk, and 5.0 GB are there$"
    with pytest.raises(DrillError, match=told):
        refuse_without_room(5.1e9, "a drill")
