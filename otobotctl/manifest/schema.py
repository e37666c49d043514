"""The JSON Schema of the manifest, made from the models: for editors, and for explaining what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from otobotctl.manifest import words
from otobotctl.manifest.models import ENVIRONMENTS, Manifest
from otobotctl.manifest.shape import ServiceShape, SettingShape

DRAFT = "https://json-schema.org/draft/2020-12/schema"

_TYPES: Mapping[str, dict[str, Any]] = {
    "text": {"type": "string"},
    "integer": {"type": "integer"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "list": {"type": "array", "items": {"type": "string"}},
}


def structure() -> dict[str, Any]:
    """Return the schema of types and keys alone, as the models say them."""
    made: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(msgspec.json.schema(Manifest)))  # tuples to lists
    return {"$schema": DRAFT, **made}


def json_schema(services: Mapping[str, ServiceShape] | None = None) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) for editors.

    It knows the services and their settings when they are given, and the forms of slugs and e-mail addresses.
    What needs more than one place to judge, such as a duplicate domain, is left to `otobotctl manifest validate`.
    """
    schema = structure()
    models = schema["$defs"]
    named = models["Manifest"]["properties"]
    for group in ("hosts", "clients"):
        named[group]["propertyNames"] = {"pattern": f"^{words.SLUG}$"}
    named["operators"]["propertyNames"] = {"pattern": f"^{words.LOGIN}$"}
    named["environments"]["propertyNames"] = {"enum": list(ENVIRONMENTS)}
    for model in ("Client", "User"):
        models[model]["properties"]["email"]["format"] = "email"
    models["Host"]["properties"]["user"]["pattern"] = f"^{words.LOGIN}$"
    named["version"]["const"] = 1
    if services is not None:
        for model in ("Client", "Environment", "Defaults"):
            _name_services(models[model]["properties"], services)
    return {"$id": "clients-config.schema.json", "title": "clients-config.json", **schema}


def _name_services(properties: dict[str, Any], services: Mapping[str, ServiceShape]) -> None:
    listed = properties["services"]
    array = next(branch for branch in (listed, *listed.get("anyOf", ())) if branch.get("type") == "array")
    array["items"] = {"enum": sorted(services)}
    array["uniqueItems"] = True
    settings = properties["settings"]
    settings["properties"] = {name: _settings(services[name]) for name in sorted(services)}
    settings["additionalProperties"] = False


def _settings(service: ServiceShape) -> dict[str, Any]:
    shaped: dict[str, Any] = {
        "type": "object",
        "properties": {name: _setting(shape) for name, shape in service.settings.items()},
        "additionalProperties": False,
    }
    return {"description": service.description, **shaped} if service.description else shaped


def _setting(shape: SettingShape) -> dict[str, Any]:
    described = {"description": shape.description} if shape.description else {}
    choices: dict[str, Any] = {"enum": list(shape.choices)} if shape.choices else {}
    if shape.type == "list" and choices:
        choices = {"items": choices, "uniqueItems": True}
    pattern = {"pattern": f"^({shape.pattern})$"} if shape.pattern else {}
    return {**_TYPES[shape.type], **described, **choices, **pattern}
