"""Versions with published vulnerabilities can be chosen, and are warned of."""

import json

import pytest
import yaml

from otobotctl.cli import main as cli
from otobotctl.data import data_dir
from otobotctl.render.known_bad import warnings
from otobotctl.render.versions import KnownBad
from tests.render.sample import DOCUMENT, catalog, resolved

SERVICES = ["postgres", "redis", "mongo", "n8n", "nginx"]


def warned(**settings):
    """The warnings of the sample's clients, the first one with these settings."""
    fleet = resolved(lambda document: document["clients"]["acme"].update(services=SERVICES, settings=settings))
    return warnings(fleet, fleet.clients.values(), catalog())


def test_no_default_is_known_to_be_bad():
    """What a client gets without saying a version is warned of in no environment."""
    assert warned() == ()


def test_the_version_of_the_seeds_is_named_with_its_vulnerabilities():
    """n8n 1.41.1: each advisory, what it lets happen, where it was fixed, and what to set instead."""
    [warning] = warned(n8n={"version": "1.41.1"})
    assert warning.startswith("clients.acme: n8n 1.41.1 has published vulnerabilities: CVE-2025-68613 (")
    for advisory in ("CVE-2026-21877", "CVE-2025-68668", "CVE-2026-1470", "CVE-2026-110852"):
        assert warning.count(advisory) == 1
    assert "fixed in 1.120.4" in warning
    assert warning.endswith("set settings.n8n.version to 1.123.83")


@pytest.mark.parametrize(
    ("version", "bad"),
    [("1.0.0", True), ("v1.2.3-alpine", True), ("1.2.4", False), ("1.10.0", False), ("0.9", False), ("stable", False)],
)
def test_versions_are_compared_by_their_numbers(version, bad):
    """From `since` up to, not including, `below`; 1.10 is above 1.2; what is no version is not judged."""
    from dataclasses import replace

    row = KnownBad(advisory="CVE-1", since="1.0.0", below="1.2.4", why="x")
    fleet = resolved(lambda document: document["clients"]["acme"].update(settings={"postgres": {"version": version}}))
    found = warnings(fleet, [fleet.client("acme")], replace(catalog(), known_bad={"postgres": (row,)}))
    assert bool(found) == bad


def test_the_table_names_services_and_advisories():
    """Each row is of a service with a version, has an advisory's number, and can hold for some version."""
    table = yaml.safe_load((data_dir("templates") / "known-bad.yaml").read_text())
    assert "n8n" in table
    for name, rows in catalog().known_bad.items():
        assert "version" in catalog().service(name).settings
        for row in rows:
            assert row.advisory.startswith("CVE-")
            assert row.holds(tuple(map(int, row.since.split("."))))


@pytest.fixture
def fleet(tmp_path):
    """A fleet on disk whose first client runs the seeds' n8n."""
    document = json.loads(json.dumps(DOCUMENT))
    document["clients"]["acme"].update(services=["postgres", "n8n"], settings={"n8n": {"version": "1.41.1"}})
    (tmp_path / "clients-config.json").write_text(json.dumps(document))
    return tmp_path


def test_validate_warns_on_stderr_and_in_json(fleet, capsys):
    """The manifest is valid: exit code 0, and the warning where each reader looks."""
    assert cli.main(["manifest", "validate", "--fleet", str(fleet)]) == 0
    said = capsys.readouterr()
    assert "warning: clients.acme: n8n 1.41.1" in said.err
    assert "warning" not in said.out
    assert cli.main(["manifest", "validate", "--fleet", str(fleet), "--json"]) == 0
    said = capsys.readouterr()
    [warning] = json.loads(said.out)["data"]["warnings"]
    assert warning.startswith("clients.acme: n8n 1.41.1")
    assert said.err == ""


def test_validate_finds_two_proxies_on_one_host(fleet, capsys):
    """What could never be deployed is no valid manifest."""
    document = json.loads((fleet / "clients-config.json").read_text())
    document["clients"]["acme"]["services"] = ["postgres", "n8n", "caddy"]
    (fleet / "clients-config.json").write_text(json.dumps(document))
    assert cli.main(["manifest", "validate", "--fleet", str(fleet)]) == 10
    assert "more than one proxy" in capsys.readouterr().err


def test_creating_a_client_warns(fleet, capsys, monkeypatch):
    """The operator learns of it when the client is made, not when it is broken into."""
    pyrage = pytest.importorskip("pyrage")
    key = pyrage.x25519.Identity.generate()
    (fleet / "key").write_text(f"{key}\n")
    monkeypatch.setenv("OTOBOTCTL_IDENTITY", str(fleet / "key"))
    document = json.loads((fleet / "clients-config.json").read_text())
    document["recipients"] = [str(key.to_public())]
    document["defaults"] = {"services": ["postgres", "n8n"], "settings": {"n8n": {"version": "1.41.1"}}}
    (fleet / "clients-config.json").write_text(json.dumps(document))
    words = ["--company", "New", "--email", "it@new.example", "--host", "vps-1", "--domain", "new.example"]
    assert cli.main(["client", "create", "new", *words, "--fleet", str(fleet)]) == 0
    said = capsys.readouterr().err
    assert "warning: clients.new: n8n 1.41.1" in said
    assert "clients.acme" not in said
