"""A vault that gives workflows no credentials, as deployed: n8n's node works, and nothing else in n8n gets a token."""

from __future__ import annotations

import pytest

from scripts.story import vault
from tests.n8n import client, package, stubs
from tests.n8n.search import stored
from tests.n8n.test_promise import http_request, items


@pytest.fixture(scope="module")
def closed(live, tmp_path_factory):
    """The same vault as a deploy starts it."""
    environment = {name: said for name, said in live.environment.items() if name != "VAULT_EXPOSE_CREDENTIALS"}
    with vault.serving(environment, tmp_path_factory.mktemp("closed") / "log.jsonl") as running:
        yield running


@pytest.fixture
def guarded(world, closed):
    """The world with that vault behind its door."""
    before, world.door.vault = world.door.vault, closed.url
    yield world
    world.door.vault = before


def test_get_user_credentials_is_refused_and_leaves_nothing(guarded):
    """403 as the node's own error with what to do instead; no token is stored, and the audit has the attempt."""
    run = guarded.run("getUserCredentials")
    assert (run.status, run.error["message"]) == ("error", "The vault does not allow this")
    assert "Call Service API" in run.error["description"]
    assert str(run.error["httpCode"]) == "403"
    assert stored(guarded.n8n, guarded.token) == []
    with guarded.live.database() as connection:
        row = connection.execute(
            "SELECT accessed_by, outcome FROM credential_access_logs WHERE user_id = %s AND access_type = 'read'",
            (guarded.user,),
        ).fetchall()
    assert row == [("internal:n8n", "refused")]


def test_the_node_and_the_credential_of_the_stock_node_go_on_working(guarded):
    """Call Service API and Otobot Service API show the node's own token: the service gets the user's, n8n keeps none."""
    assert guarded.call("/v1/users").status == "success"
    run = guarded.n8n.run(
        client.trigger(), items(guarded.user), http_request(guarded, f"{guarded.service.url}/quiet/x")
    )
    assert run.status == "success", run.error
    assert [asked["token"] for asked in guarded.service.asked] == [guarded.token] * 2
    node_token = guarded.live.environment["N8N_NODE_TOKEN"]
    assert stored(guarded.n8n, guarded.token, node_token, guarded.live.token) == []


def test_a_workflow_that_asks_the_vault_itself_is_refused(guarded):
    """The stock HTTP Request node with the vault's own credential: 403, and no token in what n8n keeps."""
    node = {
        "name": "HTTP", "type": "n8n-nodes-base.httpRequest", "typeVersion": 4.2, "credentials": guarded.login,
        "parameters": {
            "url": f"{guarded.door.url}/api/internal/user/{guarded.user}/credentials/notion",
            "authentication": "predefinedCredentialType", "nodeCredentialType": package.LOGIN, "options": {},
        },
    }  # fmt: skip
    run = guarded.n8n.run(client.trigger(), node)
    assert run.status == "error"
    assert str(run.error["httpCode"]) == "403"
    assert stored(guarded.n8n, guarded.token, guarded.live.token) == []


@pytest.mark.parametrize("node", [
    {"type": "n8n-nodes-base.set", "typeVersion": 3.4, "parameters": {
        "mode": "raw", "jsonOutput": "={{ JSON.stringify({found: $env.OTOBOT_NODE_TOKEN}) }}"}},
    {"type": "n8n-nodes-base.code", "typeVersion": 2, "parameters": {
        "jsCode": "return [{json: {found: typeof process === 'undefined' ? '' : String((process.env || {}).OTOBOT_NODE_TOKEN)}}]"}},
    {"type": "n8n-nodes-base.code", "typeVersion": 2, "parameters": {
        "jsCode": "return [{json: {found: require('fs').readFileSync('/proc/self/environ', 'utf8')}}]"}},
    {"type": "n8n-nodes-base.readWriteFile", "typeVersion": 1, "parameters": {
        "operation": "read", "fileSelector": "/proc/self/environ"}},
    {"type": "n8n-nodes-base.executeCommand", "typeVersion": 1, "parameters": {"command": "cat /proc/$PPID/environ"}},
], ids=["expression", "code", "require", "file", "command"])  # fmt: skip
def test_a_workflow_cannot_read_the_nodes_own_token(guarded, node):
    """An expression, code, a file node and a command: none of them gets it, and n8n's data has it nowhere."""
    token = guarded.live.environment["N8N_NODE_TOKEN"]
    try:
        run = guarded.n8n.run(client.trigger(), {"name": "Look", **node})
    except AssertionError as error:  # a node type that this n8n does not offer
        assert token not in str(error)
    else:
        assert token not in str(run.nodes)
    assert stored(guarded.n8n, token) == []


def test_the_nodes_own_token_goes_to_the_operators_vault_alone(guarded):
    """A credential with another URL: the node asks there with the internal token that the credential has, and no more."""
    token = guarded.live.environment["N8N_NODE_TOKEN"]
    with stubs.vault_door() as other:
        other.vault, other.hosts = guarded.door.vault, guarded.door.hosts
        run = guarded.call("/v1/users", login=guarded.credential(apiUrl=other.url))
        assert run.error["message"] == "The vault does not allow this"
        assert len(other.asked) == 2
        assert all(token not in headers.values() for headers in other.asked)
    guarded.door.asked.clear()
    assert guarded.call("/v1/users").status == "success"
    assert [headers.get("x-node-token") for headers in guarded.door.asked] == [None, token]
