"""A workflow as a file: what it does and nothing of its runs, the same bytes for the same workflow. Pure."""

from __future__ import annotations

import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from otobotctl.errors import UsageError

Document = dict[str, Any]

_NODE = (
    "id", "name", "type", "typeVersion", "position", "parameters", "disabled", "notes", "notesInFlow", "webhookId",
    "retryOnFail", "maxTries", "waitBetweenTries", "alwaysOutputData", "executeOnce", "onError", "continueOnFail",
)  # fmt: skip


def document(workflow: Mapping[str, Any]) -> Document:
    """Return what a file holds of a workflow.

    Kept by name, so that what a later n8n adds stays out: no static data, no pinned data, no state; of credentials the
    names alone.
    """
    return {
        "id": workflow["id"],
        "name": workflow["name"],
        "nodes": [_node(node) for node in workflow["nodes"]],
        "connections": workflow["connections"],
        "settings": workflow.get("settings") or {},
    }


def text(workflow: Document) -> bytes:
    """Return the file's bytes: sorted keys, one newline at the end."""
    return (json.dumps(workflow, sort_keys=True, indent=2, ensure_ascii=False) + "\n").encode()


def names(workflows: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return a file name for each id: the workflow's name, and its id too where two have one name."""
    slugs = {each["id"]: _slug(each["name"]) for each in workflows}
    twice = Counter(slugs.values())
    return {
        identity: f"{slug}.json" if slug and twice[slug] == 1 else f"{slug or 'workflow'}-{identity}.json"
        for identity, slug in slugs.items()
    }


def parse(data: bytes, name: str) -> Document:
    """Return the workflow of a file, cleaned as an export is. Raises UsageError naming the file `name`."""
    try:
        found = json.loads(data)
        cleaned = document(found)
    except ValueError as error:
        raise UsageError(f"{name} is not JSON", hint="export it again") from error
    except (KeyError, TypeError, AttributeError) as error:
        hint = "a file holds one workflow with id, name, nodes and connections, as otobotctl n8n export writes it"
        raise UsageError(f"{name} is not a workflow", hint=hint) from error
    if not all(isinstance(cleaned[key], str) and cleaned[key] for key in ("id", "name")):
        raise UsageError(
            f"{name}: the workflow needs an id and a name", hint="without its id it would come again and again"
        )
    return cleaned


def _node(node: Mapping[str, Any]) -> Document:
    kept = {key: node[key] for key in _NODE if key in node}
    if node.get("credentials"):
        kept["credentials"] = {
            kind: {"name": said if isinstance(said, str) else said["name"]}
            for kind, said in node["credentials"].items()
        }
    return kept


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:80]
