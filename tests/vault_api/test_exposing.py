"""Who may read credentials: n8n's node by a token of its own, and workflows only where the client allows it."""

from __future__ import annotations

import http.client
import json
import secrets
from urllib.parse import urlsplit

import pytest

from otobotctl.vault_api import contract
from scripts.story import vault
from tests.vault_api.conftest import USER, Live, new_environment

SECRET = "ya29.only-for-the-node"


@pytest.fixture(scope="module")
def closed(postgres, tmp_path_factory):
    """A vault as a deploy starts it, with one stored token."""
    environment = new_environment(postgres) | {"N8N_NODE_TOKEN_PREVIOUS": secrets.token_urlsafe(48)}
    del environment["VAULT_EXPOSE_CREDENTIALS"]
    with vault.serving(environment, tmp_path_factory.mktemp("vault") / "log.jsonl") as running:
        one = Live(running, environment, postgres)
        assert one.ask(contract.user_path(USER), "PUT", body={"email": "lea@acme.example"}).status == 201
        assert one.ask(contract.credentials_path(USER, "google"), "PUT", body={"accessToken": SECRET}).status == 201
        yield one


def read(one, method="GET", service="google", **headers):
    """Status and body of a read with these headers."""
    connection = http.client.HTTPConnection(urlsplit(one.vault.url).netloc, timeout=60)
    named = {"node": contract.NODE_HEADER, "internal": contract.TOKEN_HEADER}
    try:
        given = {named[name]: value for name, value in headers.items()}
        connection.request(method, contract.credentials_path(USER, service), headers=given)
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def reads(one):
    """(who, outcome) of every read in the audit."""
    with one.database() as connection:
        rows = connection.execute(
            "SELECT accessed_by, outcome FROM credential_access_logs WHERE access_type = 'read' ORDER BY id"
        )
        return rows.fetchall()


def test_by_default_a_workflow_gets_no_credential(closed):
    """The internal token: 403 with a code and what to do, audited; whether there is a connection is not told."""
    before = len(reads(closed))
    for method, service in (("GET", "google"), ("GET", "notion"), ("HEAD", "google")):
        status, body = read(closed, method, service, internal=closed.token)
        assert status == 403
        if method == "GET":
            assert json.loads(body) == {
                "error": "This client's vault gives no credentials to workflows: use Call Service API",
                "code": "exposure_refused",
            }
        assert SECRET.encode() not in body
    assert reads(closed)[before:] == [("internal:n8n", "refused")] * 3


@pytest.mark.parametrize("name", ["N8N_NODE_TOKEN", "N8N_NODE_TOKEN_PREVIOUS"])
def test_the_node_gets_it_by_its_own_token(closed, name):
    """The current token and the one before it; the audit says that it was the node."""
    status, body = read(closed, node=closed.environment[name], internal=closed.token)
    assert (status, json.loads(body)["credentials"]) == (200, {"accessToken": SECRET})
    assert reads(closed)[-1] == ("internal:node", "found")


def test_a_wrong_token_of_the_node_opens_nothing(closed):
    """401 alone; beside a right internal token it is that one's 403."""
    assert read(closed, node="x" * 64)[0] == 401
    assert read(closed, node="x" * 64, internal=closed.token)[0] == 403
    assert read(closed, node="")[0] == 401
    assert read(closed, internal=closed.environment["N8N_NODE_TOKEN"])[0] == 401


def test_the_nodes_token_opens_the_read_alone(closed):
    """Every other internal endpoint refuses it."""
    node = closed.environment["N8N_NODE_TOKEN"]
    for method, path in (
        ("GET", contract.CONNECTIONS_PATH.format(user=USER)),
        ("GET", contract.SERVICES_PATH),
        ("PUT", contract.credentials_path(USER, "google")),
        ("POST", contract.credentials_path(USER, "google")),
    ):
        body = {"accessToken": "x"} if method != "GET" else None
        assert closed.vault.ask(path, method, node=node, body=body).status == 401


def test_where_the_client_allows_it_a_workflow_gets_it(live):
    """VAULT_EXPOSE_CREDENTIALS=true, as the seeds' workflows need; the node's token still opens."""
    live.ask(contract.credentials_path(USER, "google"), "PUT", body={"accessToken": SECRET})
    for who in ({"internal": live.token}, {"node": live.environment["N8N_NODE_TOKEN"]}):
        assert read(live, **who)[0] == 200


def test_no_audit_no_refusal_either(closed):
    """A refusal that cannot be written down is 503 or 500, like a read."""
    with closed.database() as connection:
        connection.execute("REVOKE INSERT ON credential_access_logs FROM vault_runtime")
        try:
            assert read(closed, internal=closed.token)[0] >= 500
        finally:
            connection.execute("GRANT INSERT ON credential_access_logs TO vault_runtime")
