"""A decrypted credential is never stored in n8n: its database and its folder are searched, with every save setting on."""

from __future__ import annotations

import base64
import urllib.parse

import pytest

from tests.n8n import client, package
from tests.n8n.search import stored

WAIT = {
    "name": "Wait", "type": "n8n-nodes-base.wait", "typeVersion": 1.1,
    "parameters": {"resume": "timeInterval", "amount": 66, "unit": "seconds"},
}  # fmt: skip
FAIL = {
    "name": "Fail", "type": "n8n-nodes-base.stopAndError", "typeVersion": 1,
    "parameters": {"errorMessage": "as the test wants"},
}  # fmt: skip


@pytest.mark.parametrize("form", ["raw", "url", "hex", "json", "base64", "base641", "base642", "base64url"])
def test_the_search_finds_what_is_there(world, form):
    """A value that a workflow puts into an item is found, in each form that is looked for."""
    made = {
        "raw": world.token,
        "url": urllib.parse.quote(world.token, safe=""),
        "hex": world.token.encode().hex(),
        "json": world.token.replace("/", "\\\\/"),
        "base64url": base64.urlsafe_b64encode(world.token.encode()).decode(),
        **{f"base64{n or ''}": base64.b64encode(b"x" * n + world.token.encode()).decode() for n in range(3)},
    }
    node = {
        "name": "Set", "type": "n8n-nodes-base.set", "typeVersion": 3.4,
        "parameters": {"mode": "raw", "jsonOutput": f'{{"found": "{made[form]}"}}'},
    }  # fmt: skip
    world.n8n.run(client.trigger(), node)
    assert any(place.startswith("pg_dump") for place in stored(world.n8n, world.token))


def test_get_user_credentials_is_stored(world):
    """The control for the promise, and why the operation says that it exposes: what is an item, n8n keeps."""
    assert world.run("getUserCredentials").status == "success"
    assert "pg_dump: raw of secret 0" in stored(world.n8n, world.token)


@pytest.mark.parametrize("path", ["/v1/users", "/text", "/status/401", "/status/429", "/status/500", "/status/302"])
def test_a_call_leaves_no_token(world, path):
    """Success, text, refusals and a redirect that all repeat the token: zero hits, of the internal token too."""
    run = world.call(path, body='{"page": 1}', method="POST")
    assert run.status == ("error" if "status" in path else "success")
    assert world.service.asked[0]["token"] == world.token
    assert stored(world.n8n, world.token, world.live.token) == []


def test_a_call_that_may_fail_leaves_no_token(world):
    """ContinueRegularOutput and Never Error: the refusal is an item."""
    world.call("/status/401", on_error="continueRegularOutput")
    world.call("/status/401", options={"neverError": True})
    assert len(world.service.asked) == 2
    assert stored(world.n8n, world.token, world.live.token) == []


def test_a_service_that_cannot_be_reached_leaves_no_token(world):
    """The error of the line holds the request; none of it is kept."""
    world.door.hosts["notion"].append("localhost:9")
    assert world.run("callServiceApi", url="https://localhost:9/x").status == "error"
    world.door.hosts["notion"].remove("localhost:9")
    assert stored(world.n8n, world.token, world.live.token) == []


def test_a_later_failure_and_a_wait_leave_no_token(world):
    """A workflow that fails after the call, and one that sleeps in the database: both are kept whole, without it."""
    call = world.node("callServiceApi", url=f"{world.service.url}/v1")
    assert world.n8n.run(client.trigger(), call, FAIL).status == "error"
    assert world.n8n.run(client.trigger(), call, WAIT).status == "waiting"
    assert stored(world.n8n, world.token, world.live.token) == []


def test_a_run_from_a_webhook_leaves_no_token(world):
    """Production mode: published, called from outside, kept as every run is."""
    hook = {
        "name": "Hook", "type": "n8n-nodes-base.webhook", "typeVersion": 2, "webhookId": world.user,
        "parameters": {"path": world.user, "httpMethod": "POST", "responseMode": "lastNode"},
    }  # fmt: skip
    call = world.node("callServiceApi", url=f"{world.service.url}/v1", userId="={{ $json.body.userId }}")
    world.n8n.publish(hook, call)
    answer = world.n8n.http.post(f"/webhook/{world.user}", json={"userId": world.user})
    assert (answer.status_code, answer.json()["body"]["echo"]["raw"]) == (200, "[token]")
    assert stored(world.n8n, world.token, world.live.token) == []


# --------------------------------------------- the stock HTTP Request node
def http_request(world, url, **values):
    """n8n's own node, with the credential type that asks the vault when the request is made."""
    given = {
        "clientId": "acme", "apiUrl": world.door.url, "internalToken": world.live.token,
        "userId": "={{ $json.u }}", "service": "notion", **values,
    }  # fmt: skip
    return {
        "name": "HTTP", "type": "n8n-nodes-base.httpRequest", "typeVersion": 4.2,
        "credentials": world.n8n.credential(package.SERVICE_LOGIN, given),
        "parameters": {
            "url": url, "authentication": "predefinedCredentialType", "nodeCredentialType": package.SERVICE_LOGIN,
            "options": {},
        },
    }  # fmt: skip


def items(*values):
    """A node that puts out one item a value."""
    return {
        "name": "Items", "type": "n8n-nodes-base.code", "typeVersion": 2,
        "parameters": {"jsCode": f"return {list(values)!r}.map((u) => ({{json: {{u}}}}))"},
    }  # fmt: skip


def test_the_stock_node_calls_as_the_user_of_each_item(world):
    """Two users in one run: each request has its own user's token, and n8n keeps neither."""
    other, token = "00000000-0000-4000-8000-aaaaaaaaaaaa", f"ntn_other+/={world.user}"
    world.live.ask(f"/api/internal/user/{other}", "PUT", body={"email": "other@acme.example"})
    world.live.ask(f"/api/internal/user/{other}/credentials/notion", "PUT", body={"accessToken": token})
    url = f"={world.service.url}/quiet/{{{{ $json.u }}}}"
    run = world.n8n.run(client.trigger(), items(world.user, other), http_request(world, url))
    assert run.status == "success", run.error
    seen = {asked["path"]: asked["token"] for asked in world.service.asked}
    assert seen == {f"/quiet/{world.user}": world.token, f"/quiet/{other}": token}
    assert stored(world.n8n, world.token, token, world.live.token) == []


@pytest.mark.parametrize("path", ["/quiet/401", "/quiet/302"])
def test_the_stock_node_keeps_no_token_when_it_is_refused(world, path):
    """An error and a redirect, which is not followed: n8n keeps them without the token."""
    run = world.n8n.run(client.trigger(), items(world.user), http_request(world, f"{world.service.url}{path}"))
    assert [asked["path"] for asked in world.service.asked] == [path]
    assert world.service.asked[0]["token"] == world.token
    assert run.status == ("error" if "401" in path else run.status)
    assert stored(world.n8n, world.token, world.live.token) == []


def test_the_stock_node_sends_a_token_to_the_services_hosts_only(world):
    """Another address: the credential refuses before anything is sent."""
    run = world.n8n.run(client.trigger(), items(world.user), http_request(world, "https://localhost:9/x"))
    assert run.status == "error"
    assert "is not a host of this service" in str(run.error)
    assert stored(world.n8n, world.token, world.live.token) == []
