"""What is installed from the wheel is whole: templates, playbooks, the vault's context, the agent."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    directory = tmp_path_factory.mktemp("wheel")
    argv = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(directory)]
    subprocess.run(argv, cwd=ROOT, check=True, capture_output=True, timeout=300)
    (found,) = directory.glob("*.whl")
    return found


def test_the_wheel_holds_every_template_and_playbook(wheel):
    """File for file what git has, under _data, and nothing of a build or a test."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    listed = subprocess.run(
        ["git", "ls-files", "templates", "playbooks", "otobotctl"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    wanted = {name if name.startswith("otobotctl/") else f"otobotctl/_data/{name}" for name in listed}
    assert wanted - names == set()
    assert not [name for name in names if "__pycache__" in name or name.startswith("tests/")]


def test_the_unpacked_wheel_makes_a_fleet_and_renders(wheel, tmp_path):
    """Far from any checkout: init, host add, client create and render work on what the wheel holds."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": str(tmp_path),
        "PYTHONPATH": str(tmp_path / "site"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }

    def call(*arguments):
        # -P and the PYTHONPATH: the unpacked wheel comes before the editable installation of this checkout.
        argv = [sys.executable, "-P", "-m", "otobotctl", *arguments]
        done = subprocess.run(
            argv, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    call("init", "fleet")
    call("--fleet", "fleet", "host", "add", "vps-1", "--address", "203.0.113.10")
    call(
        "--fleet", "fleet", "client", "create", "acme", "--company", "ACME", "--email", "it@acme.example",
        "--host", "vps-1", "--domain", "acme.example",
    )  # fmt: skip
    assert "compose.yaml" in call("--fleet", "fleet", "client", "render", "acme")
    where = subprocess.run(
        [sys.executable, "-P", "-c", "import otobotctl; print(otobotctl.__file__)"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert where.startswith(str(tmp_path))
