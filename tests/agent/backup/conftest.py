"""A real restic and a repository of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from otobotctl.agent.backup.restic import Restic
from tests.agent.backup import quick_restic


def target(path: Path, name: str = "disk") -> dict:
    """A Target on a local path."""
    return {"name": name, "repository": str(path), "environment": {}, "options": [], "append_only": False}


@pytest.fixture
def restic(tmp_path: Path) -> Restic:
    """An empty repository."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    key = tmp_path / "key"
    key.write_text("password-of-the-repository")
    quick_restic.init(tmp_path / "repository", key.read_text())
    return Restic(target(tmp_path / "repository"), str(key))
