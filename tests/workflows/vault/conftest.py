"""A fleet with one client, whose vault runs on this machine behind the real agent."""

from __future__ import annotations

import io
import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from otobotctl.cli import main as cli
from otobotctl.workflows import secrets as sealed
from otobotctl.workflows.desired import load
from tests.vault_api.conftest import new_environment, postgres, watch
from tests.workflows.vault.standin import SLUG, StandIn

__all__ = ["postgres", "watch"]
_PLACE = ("HOST", "PORT", "NAME")


@pytest.fixture(scope="package")
def home(tmp_path_factory):
    """An operator's home, and nothing of the person who runs the tests."""
    made = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(made))
        for name in ("OTOBOTCTL_IDENTITY", "OTOBOTCTL_FLEET"):
            patch.delenv(name, raising=False)
        yield made


def new_standin(postgres, directory):
    """A fleet and a host on this machine; nothing is deployed."""
    from otobotctl import fleet as fleets

    assert cli.main(["init", str(directory / "fleet")]) == 0
    fleet = fleets.find(directory / "fleet")
    written = json.loads(fleet.manifest.read_text())
    written["hosts"] = {"vps-1": {"address": "203.0.113.1"}}
    acme = {"company": "ACME SAS", "email": "it@acme.example", "host": "vps-1", "domain": "acme.example"}
    # The stand-in has nothing that an archive could be made of.
    written["clients"] = {SLUG: {**acme, "backup": {"before_deploy": False}}}
    fleet.manifest.write_text(json.dumps(written))
    sealed.mint(load(fleet), SLUG)
    found = new_environment(postgres)
    database = {
        name: found[name] for name in found if name.startswith(("VAULT_DATABASE_", "VAULT_OWNER_", "VAULT_RUNTIME_"))
    }
    (directory / "host").mkdir()
    (directory / "database.json").write_text(json.dumps(database))
    return StandIn.at(directory)


@pytest.fixture(scope="package")
def standin(home, postgres, tmp_path_factory):
    """A deployed vault, shared by the tests of this folder."""
    made = new_standin(postgres, tmp_path_factory.mktemp("standin"))
    with deployed(made):
        yield made


@contextmanager
def deployed(made):
    """It runs, and the commands of this process lead to it."""
    try:
        made.deploy()
        with pytest.MonkeyPatch.context() as patch:
            made.lead_here(patch)
            yield
    finally:
        made.stop()


@pytest.fixture
def ask(standin, capsys, monkeypatch):
    """Run a `vault` command against the stand-in; its exit code, both streams, and the data of --json."""
    return asking(standin, capsys, monkeypatch)


def asking(standin, capsys, monkeypatch):
    """What runs a `vault` command in this fleet."""

    def run(*words, stdin=""):
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        code = cli.main(["vault", *words, "--fleet", str(standin.fleet.root)])
        said = capsys.readouterr()
        data = error = None
        if "--json" in words:
            assert said.out.count("\n") == 1, said.out
            envelope = json.loads(said.out)
            data, error = envelope["data"], envelope["error"]
        return SimpleNamespace(code=code, out=said.out, err=said.err, data=data, error=error)

    return run
