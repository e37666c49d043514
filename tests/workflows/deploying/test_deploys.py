"""`deploy` as it is typed: which clients, exit codes, and a manifest that a failure leaves as it was."""

import json

import pytest

from otobotctl import fleet as fleets
from otobotctl.cli import main as cli
from otobotctl.workflows import converging
from otobotctl.workflows import secrets as sealed
from otobotctl.workflows.deploying import versions
from otobotctl.workflows.desired import load
from tests.workflows.door import Hosts


@pytest.fixture
def fleet(tmp_path, monkeypatch):
    """Two clients on two hosts that cannot be reached."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("OTOBOTCTL_IDENTITY", "OTOBOTCTL_FLEET", "OTOBOTCTL_AGE_KEY", "OTOBOTCTL_SSH_KEY"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    assert cli.main(["init", str(tmp_path / "fleet")]) == 0
    here = fleets.find(tmp_path / "fleet")
    written = json.loads(here.manifest.read_text())
    written["hosts"] = {f"vps-{number}": {"address": f"203.0.113.{number}"} for number in (1, 2)}
    common = {"company": "A", "email": "it@acme.example"}
    written["clients"] = {
        "acme": {**common, "host": "vps-1", "domain": "acme.example"},
        "beta": {**common, "host": "vps-2", "domain": "beta.example", "environment": "dev"},
    }
    here.manifest.write_text(json.dumps(written))
    for slug in ("acme", "beta"):
        sealed.mint(load(here), slug)
    monkeypatch.setattr(converging, "open_door", Hosts({}))
    return here


@pytest.fixture
def ask(fleet, capsys):
    """Run a command with --json; its exit code and envelope."""

    def run(*words):
        capsys.readouterr()
        code = cli.main([*words, "--json", "--fleet", str(fleet.root)])
        return code, json.loads(capsys.readouterr().out)

    return run


def test_one_client_ends_with_its_own_code(ask):
    """13: its host cannot be reached."""
    code, said = ask("deploy", "acme")
    assert (code, said["error"]["kind"]) == (13, "HostUnreachable")


def test_several_clients_end_with_3_and_each_ones_own_error(ask):
    """Rows in the order asked for, and the command that takes up what is left."""
    code, said = ask("deploy", "beta", "acme")
    assert code == 3
    assert [(row["client"], row["state"], row["error"]["code"]) for row in said["data"]["clients"]] == [
        ("beta", "failed", 13),
        ("acme", "failed", 13),
    ]
    assert said["error"]["hint"].endswith("otobotctl deploy beta acme")
    assert len(said["error"]["details"]) == 2


def test_after_so_many_failures_no_other_host_is_started(ask):
    """It is told as left out, with the reason."""
    code, said = ask("deploy", "--all", "--parallel", "1", "--max-failures", "1")
    assert code == 3
    assert [row["state"] for row in said["data"]["clients"]] == ["failed", "left out"]
    assert said["data"]["clients"][1]["reason"] == "1 failed before"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "which clients?"),
        (["acme", "--env", "dev"], "acme: not in dev"),
        (["--env", "stage"], "no client is in stage"),
        (["acme", "--all"], "--all is every client already"),
        (["acme", "--version", "n8n=1.2"], "acme has no n8n"),
        (["acme", "--version", "vault-api=1.2"], "vault-api has no version of its own"),
        (["acme", "--force"], "Let services go back to older versions, which may not read their data?"),
    ],
)
def test_what_cannot_be_meant(ask, words, message):
    """Exit code 2, with nothing contacted."""
    code, said = ask("deploy", *words)
    assert code == 2
    assert said["error"]["message"].startswith(message)


def test_an_environment_is_all_of_its_clients(ask):
    """One of two here, so its own code and not 3."""
    assert ask("deploy", "--env", "dev")[0] == 13


def test_a_version_is_not_left_in_the_manifest_by_a_deploy_that_failed(ask, fleet):
    """Byte by byte but for what a version that was there before is again."""
    before = json.loads(fleet.manifest.read_text())
    assert ask("deploy", "acme", "--version", "postgres=16.15")[0] == 13
    after = json.loads(fleet.manifest.read_text())
    assert after["clients"]["acme"].get("settings", {}).get("postgres", {}) == {}
    assert {**after["clients"]["acme"], "settings": 0} == {**before["clients"]["acme"], "settings": 0}


def test_a_version_stays_in_the_manifest_of_a_deploy_that_went_well(fleet):
    """And in a plan it is imagined alone: nothing is written."""
    asked = (versions.Version("postgres", "16.15"),)
    before = fleet.manifest.read_bytes()
    imagined = versions.imagined(load(fleet), ("acme",), asked).manifest
    assert [imagined.client(slug).settings["postgres"].get("version") for slug in ("acme", "beta")] == ["16.15", None]
    assert fleet.manifest.read_bytes() == before
    with versions.written(fleet, "acme", asked):
        pass
    assert load(fleet).manifest.client("acme").settings["postgres"] == {"version": "16.15"}


def test_a_bad_version_is_refused_before_anything_is_written(ask, fleet):
    """By the service's own pattern."""
    before = fleet.manifest.read_bytes()
    assert ask("deploy", "acme", "--version", "postgres=no tag")[0] == 10
    assert fleet.manifest.read_bytes() == before


@pytest.mark.parametrize("words", [["rollback", "acme"], ["releases", "acme"], ["logs", "acme"]])
def test_a_host_that_is_away_is_13_for_each(ask, words):
    """In one envelope."""
    code, said = ask(*words)
    assert (code, said["ok"]) == (13, False)


@pytest.mark.parametrize("command", ["deploy", "rollback", "releases", "logs"])
def test_help_has_an_example(command, capsys):
    """Of each command."""
    assert cli.main([command, "--help"]) == 0
    assert f"Example: otobotctl {command} acme" in capsys.readouterr().out
