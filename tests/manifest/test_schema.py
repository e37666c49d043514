"""The JSON Schema for editors."""

import jsonschema
import pytest

from otobotctl import manifest
from tests.manifest.sample import SERVICES, right


def test_the_schema_is_a_schema_and_accepts_a_right_manifest():
    """It is of draft 2020-12, and nothing that validates is underlined in an editor."""
    schema = manifest.json_schema(SERVICES)
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.Draft202012Validator(schema).validate(right())
    jsonschema.Draft202012Validator(manifest.json_schema()).validate(right())


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"planets": {}},
        {"hosts": {"A B": {"address": "x"}}},
        {"hosts": {"a": {"address": "x", "user": "-l"}}},
        {"environments": {"prd": {}}},
        {"defaults": {"services": ["ngix"]}},
        {"defaults": {"settings": {"postgres": {"memory": "1 GB"}}}},
        {"defaults": {"settings": {"postgres": {"connections": "1"}}}},
        {"defaults": {"settings": {"postgre": {}}}},
    ],
)
def test_an_editor_underlines_what_is_wrong(change):
    """The schema alone finds wrong keys, names, services and settings."""
    schema = manifest.json_schema(SERVICES)
    assert list(jsonschema.Draft202012Validator(schema).iter_errors({**right(), **change}))


def test_every_key_is_described():
    """An editor shows what a key is for when the operator hovers over it."""
    schema = manifest.json_schema()
    described = ["description" in field for model in schema["$defs"].values() for field in model["properties"].values()]
    described += ["description" in model for model in schema["$defs"].values()]
    assert all(described)
