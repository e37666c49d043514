"""What is taken for a secret in a workflow, and what is not."""

from __future__ import annotations

import json
import re

import pytest

from otobotctl.workflows.n8n.suspects import suspects
from tests.n8n import package


def found(parameters):
    """The suspects of one node with these parameters."""
    return suspects({"nodes": [{"name": "Call", "parameters": parameters}]})


@pytest.mark.parametrize(
    "parameters",
    [
        {"headerParameters": {"parameters": [{"name": "Authorization", "value": "Bearer abcdefgh12345678"}]}},
        {"headerParameters": {"parameters": [{"name": "X-Api-Key", "value": "s3cr3t-value"}]}},
        {"assignments": {"assignments": [{"name": "apiToken", "value": "0123456789abcdef"}]}},
        {"values": {"string": [{"name": "password", "value": "hunter22"}]}},
        {"jsCode": "const key = 'sk-proj-abcdefghij0123456789';\nreturn [];"},
        {"jsonBody": '={ "auth": "ghp_0123456789abcdefABCDEF0123456789abcd" }'},
        {"url": "https://user:pa55word@api.example.com/v1"},
        {"text": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"},
        {"key": "-----BEGIN RSA PRIVATE KEY-----\nMIIE"},
        {"note": "ntn_123456789012abcdefGHIJKLmnop"},
        {"body": "Zx8Kq2Lm9Pw4Rt7Yv3Bn6Hj1Dc5Fg0SaUeIoXqWz"},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_a_secret_in_a_node_is_found(parameters):
    """By the name beside it, by its form, or by its length; the value itself is never told."""
    (suspect,) = found(parameters)
    assert suspect.node == "Call"
    assert re.search("12345678|s3cr3t|89abcdef|hunter22|sk-proj|ghp_|pa55|eyJ|BEGIN|ntn_|Zx8K", json.dumps(parameters))
    assert not re.search("12345678|s3cr3t|89abcdef|hunter22|sk-proj|ghp_|pa55|eyJ|BEGIN|ntn_|Zx8K", suspect.told())


@pytest.mark.parametrize(
    "parameters",
    [
        {"headerParameters": {"parameters": [{"name": "Authorization", "value": "={{ $json.header }}"}]}},
        {"headerParameters": {"parameters": [{"name": "Content-Type", "value": "application/json"}]}},
        {"assignments": {"assignments": [{"id": "834c80c6-b5e8-504b-9ea8-7e798f57135a", "name": "folderId", "value": "1A2b3C4d5E6f7G8h9I0jKlMnOpQrStUvWxYz1A2b3C4d"}]}},
        {"databaseId": "0f1e2d3c4b5a69788796a5b4c3d2e1f0"},
        {"url": "https://www.googleapis.com/drive/v3/files?q=mimeType%3D'application/pdf'"},
        {"jsCode": "return $input.all().map((item) => ({ json: { token: item.json.tokenExpiresInDays } }));"},
        {"authentication": "headerAuth", "genericAuthType": "httpHeaderAuth"},
        {"text": "Votre mot de passe a changé. Merci de vous reconnecter."},
    ],
    ids=lambda parameters: next(iter(parameters)),
)  # fmt: skip
def test_what_a_workflow_is_made_of_is_none(parameters):
    """Expressions, ids, addresses, code and words."""
    assert found(parameters) == ()


@pytest.mark.parametrize("path", sorted((package.SOURCES / "workflows").glob("*.json")), ids=lambda path: path.stem)
def test_our_own_templates_have_none(path):
    """So that they can be carried without a word."""
    assert suspects(json.loads(path.read_text())) == ()
