"""The workflow templates, as an operator has them in n8n: with the client's credentials, and settings of his own."""

from __future__ import annotations

import copy
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.n8n import package
from tests.n8n.client import SAVE_ALL

FOLDER = Path(package.SOURCES) / "workflows"
SLUGS = tuple(sorted(path.stem for path in FOLDER.glob("*.json")))
SETTINGS_NODE = "Réglages"


def load(slug: str) -> dict[str, Any]:
    """A template as it is in the repository."""
    return dict(json.loads((FOLDER / f"{slug}.json").read_text()))


def node(document: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The node of this name."""
    found: dict[str, Any] = next(each for each in document["nodes"] if each["name"] == name)
    return found


def installed(slug: str, logins: Mapping[str, Any], values: Mapping[str, Any], errors: str = "") -> dict[str, Any]:
    """A template with credentials that are in n8n, what the operator sets, and everything saved that n8n can save.

    Its webhook has a path of its own. `errors` is the id of the workflow that is told of failures.
    """
    document = copy.deepcopy(load(slug))
    document["settings"].update(SAVE_ALL)
    document["settings"].pop("errorWorkflow", None)
    if errors:
        document["settings"]["errorWorkflow"] = errors
    for each in document["nodes"]:
        if "credentials" in each:
            each["credentials"] = {kind: logins[kind] for kind in each["credentials"]}
        if each["type"].endswith((".webhook", ".wait")):
            each["webhookId"] = secrets.token_hex(8)
        if each["type"].endswith(".webhook"):
            each["parameters"]["path"] += f"-{secrets.token_hex(4)}"
        if each["name"] == SETTINGS_NODE:
            _set(each, values)
    document.pop("id")
    return document


def _set(settings: dict[str, Any], values: Mapping[str, Any]) -> None:
    rows = {row["name"]: row for row in settings["parameters"]["assignments"]["assignments"]}
    for name, value in values.items():
        if name in rows:
            rows[name]["value"] = value


def paused(document: Mapping[str, Any], after: str) -> dict[str, Any]:
    """The same with a node behind `after` that waits, in n8n's database, until it is called."""
    changed = copy.deepcopy(dict(document))
    wait = {
        "id": secrets.token_hex(8), "name": "Pause", "type": "n8n-nodes-base.wait", "typeVersion": 1.1,
        "position": [0, 400], "webhookId": secrets.token_hex(8), "parameters": {"resume": "webhook", "options": {}},
    }  # fmt: skip
    changed["nodes"].append(wait)
    outputs = changed["connections"][after]["main"]
    changed["connections"]["Pause"] = {"main": [outputs[0]]}
    changed["connections"][after]["main"] = [[{"node": "Pause", "type": "main", "index": 0}], *outputs[1:]]
    return changed
