"""The repository's own root is a fleet that works as a sample."""

import json
from pathlib import Path

import jsonschema

from otobotctl import fleet, manifest
from otobotctl.render.catalog import load_catalog

ROOT = fleet.Fleet(Path(__file__).parents[2])


def test_the_sample_validates():
    """One host, one client, everything resolved, against the services there are."""
    found = manifest.resolve(manifest.load(ROOT.manifest, load_catalog().service_shapes()))
    assert list(found.hosts) == ["vps-1"]
    assert list(found.clients) == ["demo"]
    assert found.client("demo").settings["postgres"]["memory"] == "768m"
    assert found.client("demo").backup.schedule == "never"


def test_an_editor_finds_the_schema_beside_the_sample():
    """`$schema` names the committed schema, which accepts the sample and is the one that this version prints."""
    document = json.loads(ROOT.manifest.read_text())
    assert document["$schema"] == f"./{ROOT.schema.name}"
    committed = json.loads(ROOT.schema.read_text())
    jsonschema.Draft202012Validator(committed).validate(document)
    remedy = "a service changed: .venv/bin/otobotctl manifest schema > clients-config.schema.json"
    assert committed == manifest.json_schema(load_catalog().service_shapes()), remedy


def test_no_secrets_are_in_git():
    """The sample is for everybody to read."""
    assert not list((ROOT.root / "clients").glob("*/secrets.age"))
