"""Another password for repositories, by real restic: let in, killed, let go; other people's keys stay."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from otobotctl.agent.backup import rekey
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.wire import RefusedError
from tests.agent.backup import quick_restic

TOP = Path(__file__).parents[3]
OLD, NEW, LOST, OWN = "the-first-password", "the-second-password", "one-nobody-wrote-down", "an-operators-own"
_DIES = """
import json, os, signal, sys
from otobotctl.agent.backup import rekey
from otobotctl.agent.backup.places import BackupPlaces
step, asked, top = sys.argv[1], json.load(sys.stdin), sys.argv[2]
real = getattr(rekey._Keys, step)
def then_dies(self, value):
    real(self, value)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(rekey._Keys, step, then_dies)
places = BackupPlaces("acme", *(top + each for each in ("/etc", "/state", "/run")))
rekey.serve({"who": "a test", "asked": asked}, places, lambda record: None)
"""


class Client:
    """A client with a repository of its own, an append-only one, and one that was never made."""

    def __init__(self, root):
        self.root = root
        self.places = BackupPlaces("acme", *(str(root / each) for each in ("etc", "state", "run")))
        known = {"environment": {}, "options": []}
        targets = [
            {"name": "nas", "repository": str(root / "nas"), "append_only": False, **known},
            {"name": "vaulted", "repository": str(root / "vaulted"), "append_only": True, **known},
            {"name": "later", "repository": str(root / "later"), "append_only": False, **known},
        ]
        Path(self.places.home).mkdir(parents=True)
        Path(self.places.job).write_text(json.dumps({"version": 1, "client": "acme", "targets": targets}))

    def restic(self, name, password, *words):
        variables = {**os.environ, "RESTIC_REPOSITORY": str(self.root / name), "RESTIC_PASSWORD": password}
        argv = ["restic", "--quiet", "--no-cache", *words]
        return subprocess.run(argv, env=variables, capture_output=True, text=True, check=False)

    def ask(self, do, value, by=""):
        told = []
        rekey.serve({"who": "a test", "asked": {"do": do, "value": value, "by": by}}, self.places, told.append)
        return {each["key"]["target"]: each["key"] for each in told}

    def dies(self, step, do, value, by):
        """Do it, and die by SIGKILL behind the first time that `step` has been done."""
        process = subprocess.run(
            [sys.executable, "-c", _DIES, step, str(self.root)],
            input=json.dumps({"do": do, "value": value, "by": by}),
            text=True,
            env={**os.environ, "PYTHONPATH": str(TOP)},
            check=False,
        )
        assert process.returncode == -signal.SIGKILL

    def keys(self, name, password):
        return {each["userName"] for each in json.loads(self.restic(name, password, "key", "list", "--json").stdout)}


@pytest.fixture
def client(tmp_path):
    """Its repositories have the first password; that of an operator opens one of them too."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    made = Client(tmp_path)
    for name in ("nas", "vaulted"):
        quick_restic.init(tmp_path / name, OLD)
    (tmp_path / "own").write_text(OWN)
    words = ("key", "add", "--new-password-file", str(tmp_path / "own"), "--user", "anna")
    assert made.restic("nas", OLD, *words).returncode == 0
    return made


def test_a_password_is_exchanged_whoever_dies_meanwhile(client):
    """In two repositories; what was made for a password that is lost goes, an operator's own key stays."""
    refuses_what_would_lose_it(client)
    client.dies("add", "add", LOST, OLD)
    client.dies("add", "add", NEW, OLD)
    assert states(client.ask("add", NEW, OLD)) == {"nas": "open", "vaulted": "added", "later": "absent"}
    client.dies("remove", "remove", OLD, NEW)
    found = client.ask("remove", OLD, NEW)
    assert states(found) == {"nas": "removed", "vaulted": "kept", "later": "absent"}
    assert states(client.ask("look", NEW)) == {"nas": "open", "vaulted": "open", "later": "absent"}
    assert client.ask("look", OLD)["nas"]["state"] == client.ask("look", LOST)["nas"]["state"] == "closed"
    assert client.keys("nas", OWN) == {"anna", rekey.mark(NEW)}
    assert client.restic("vaulted", NEW, "key", "remove", found["vaulted"]["id"]).returncode == 0
    assert client.ask("look", OLD)["vaulted"]["state"] == "closed"
    assert client.restic("nas", NEW, "check").returncode == 0


def states(found):
    """How each target is."""
    return {name: each["state"] for name, each in found.items()}


def refuses_what_would_lose_it(client):
    """The former one stays where the other one opens nothing, and none is let in by a password that nobody has."""
    for do, value, by in (("remove", OLD, NEW), ("add", NEW, LOST)):
        found = client.ask(do, value, by)
        assert {found[name]["error"]["kind"] for name in ("nas", "vaulted")} == {"password"}
        assert NEW not in json.dumps(found)
        assert OLD not in json.dumps(found)
    assert client.ask("look", OLD)["nas"]["state"] == "open"


def test_while_a_run_works_on_them_nothing_is_exchanged(tmp_path):
    """The run's lock is told of."""
    client = Client(tmp_path)
    client.places.prepare()
    with rekey._alone(client.places, "a run"), pytest.raises(RefusedError) as caught:
        client.ask("add", NEW, OLD)
    assert caught.value.code == "locked"
