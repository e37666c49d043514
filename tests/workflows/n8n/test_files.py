"""A workflow as a file: what is in it, and that its bytes depend on nothing else."""

from __future__ import annotations

import json

import pytest

from otobotctl.errors import UsageError
from otobotctl.workflows.n8n import files

STORED = {
    "id": "w1",
    "name": "Drive → Notion (tous)",
    "active": True,
    "staticData": {"lastToken": "kept by a trigger"},
    "pinData": {"Start": [{"json": {"mail": "lea@acme.example"}}]},
    "shared": [{"project": "p"}],
    "nodes": [
        {
            "name": "Call", "id": "n1", "type": "n8n-nodes-base.httpRequest", "position": [0, 0], "typeVersion": 4,
            "parameters": {"url": "https://api.notion.com", "b": 1, "a": 2},
            "credentials": {"otobotDatabaseApi": {"id": "c1", "name": "Otobot API Connection", "data": "sealed"}},
        },
        {"name": "Old", "id": "n2", "type": "t", "parameters": {}, "credentials": {"smtp": "by its name alone"}},
    ],
    "connections": {},
    "settings": {"executionOrder": "v1"},
}  # fmt: skip


def test_a_file_holds_what_a_workflow_does_and_nothing_of_its_runs():
    """No static data, no pinned data, no state, and of credentials their names alone."""
    text = files.text(files.document(STORED)).decode()
    for gone in ("lastToken", "lea@acme", "active", "shared", "sealed", '"c1"'):
        assert gone not in text
    (call, old) = json.loads(text)["nodes"]
    assert call["credentials"] == {"otobotDatabaseApi": {"name": "Otobot API Connection"}}
    assert old["credentials"] == {"smtp": {"name": "by its name alone"}}
    assert call["parameters"] == STORED["nodes"][0]["parameters"]


def test_the_same_workflow_is_the_same_bytes():
    """Whatever order n8n tells its fields in, and read back and written again."""
    turned = json.loads(json.dumps(STORED, sort_keys=True))
    text = files.text(files.document(STORED))
    assert files.text(files.document(turned)) == text
    assert files.text(files.parse(text, "w.json")) == text
    assert text.endswith(b"}\n")


def test_file_names_are_the_workflows_and_unique():
    """Two of one name have their ids in theirs, in either order; one without a letter has its id alone."""
    found = [
        {"id": "a", "name": "Été 2026!"},
        {"id": "b", "name": "Same"},
        {"id": "c", "name": "same"},
        {"id": "d", "name": "→"},
    ]
    named = {"a": "ete-2026.json", "b": "same-b.json", "c": "same-c.json", "d": "workflow-d.json"}
    assert files.names(found) == files.names(reversed(found)) == named


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "is not JSON"),
        (b"[]", "is not a workflow"),
        (b'{"id": "x", "name": "y"}', "is not a workflow"),
        (b'{"id": "x", "name": "y", "nodes": [1], "connections": {}}', "is not a workflow"),
        (b'{"id": null, "name": "y", "nodes": [], "connections": {}}', "needs an id"),
    ],
)
def test_what_is_no_workflow_is_refused_by_its_file(data, said):
    """With the file's name."""
    with pytest.raises(UsageError, match=said) as error:
        files.parse(data, "x.json")
    assert "x.json" in str(error.value)
