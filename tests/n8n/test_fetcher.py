"""The vault's node in a real n8n against a real vault: every operation, and every way it can go wrong."""

from __future__ import annotations

import pytest

from tests.n8n import client, package

NOTHING = {"error": "Connection not found", "hasCredentials": False}
NOBODY = "00000000-0000-4000-8000-000000000000"


def test_the_type_name_comes_out_right(n8n):
    """The node is n8n-nodes-otobot.otobotCredentialFetcher, which the seeds' workflows name, with connections of type main."""
    node = n8n.node_types()[package.TYPE]
    assert node["displayName"] == "Otobot Credential Fetcher"
    assert (node["inputs"], node["outputs"]) == (["main"], ["main"])
    assert [each["name"] for each in node["credentials"]] == [package.LOGIN]


def test_the_icon_is_served(n8n):
    """The editor shows the node's icon."""
    url = n8n.node_types()[package.TYPE]["iconUrl"]
    answer = n8n.http.get(f"/{url}")
    assert (answer.status_code, answer.text[:4]) == (200, "<svg")


# ------------------------------------------------------------------ the vault
def test_get_user_credentials_gives_what_the_seeds_show(world):
    """connectionId, hasCredentials, credentials and metadata."""
    (item,) = world.run("getUserCredentials").items("Vault")
    assert item["connectionId"] == world.connection
    assert (item["hasCredentials"], item["credentials"]) == (True, {"accessToken": world.token})
    assert item["metadata"]["accountIdentifier"] == "ACME's workspace"
    assert item["metadata"]["tokenExpired"] is False


def test_connections_are_items_whose_status_can_be_asked(world):
    """One item a connection; the next node takes its connectionId from it."""
    world.live.ask(f"/api/internal/user/{world.user}/credentials/slack", "PUT", body={"accessToken": "xoxb"})
    check = {**world.node("checkConnectionStatus", connectionId="={{ $json.connectionId }}"), "name": "Check"}
    run = world.n8n.run(client.trigger(), world.node("listUserConnections"), check)
    listed, checked = run.items("Vault"), run.items("Check")
    assert {each["service_name"] for each in listed} == {"notion", "slack"}
    assert {each["userId"] for each in listed} == {world.user}
    assert [each["connectionId"] for each in checked] == [each["connectionId"] for each in listed]
    assert {each["status"] for each in checked} == {"valid"}
    assert world.token not in str((listed, checked))


@pytest.mark.parametrize(
    ("operation", "more"),
    [
        ("getUserCredentials", {"userId": NOBODY}),
        ("getUserCredentials", {"service": "gitlab"}),
        ("checkConnectionStatus", {"connectionId": NOBODY}),
        ("callServiceApi", {"userId": NOBODY, "url": "https://api.notion.com/v1/users/me"}),
    ],
)
def test_no_connection_is_an_answer_and_the_workflow_goes_on(world, operation, more):
    """Another's id, another service: the item that the seeds' workflows test for, and the next node runs."""
    after = {"name": "After", "type": "n8n-nodes-base.noOp", "typeVersion": 1}
    run = world.n8n.run(client.trigger(), world.node(operation, **more), after)
    assert run.status == "success"
    assert run.items("After") == [NOTHING]


def test_a_wrong_internal_token_is_told_with_what_to_do(world):
    """401 of the vault: the credential is wrong, and waiting does not help."""
    run = world.run("listUserConnections", login=world.credential(internalToken="x" * 64))
    assert run.status == "error"
    assert run.error["message"] == "The vault refuses the internal token"
    assert "Correct the token in the credential" in run.error["description"]
    assert str(run.error["httpCode"]) == "401"


def test_a_vault_that_is_asked_too_often_says_when_to_try_again(world):
    """429 of the vault: its Retry-After becomes advice."""
    world.door.faults["/connections"] = (429, {"Retry_After": "9"})
    run = world.run("listUserConnections")
    assert run.error["message"] == "The vault is asked too often"
    assert "at least 9 s" in run.error["description"]


def test_a_vault_that_is_down_or_fails_is_an_error_of_its_own(world):
    """Nobody listens, or 503: told apart, both worth another try."""
    down = world.run("listUserConnections", login=world.credential(apiUrl="http://127.0.0.1:9"))
    assert down.error["message"] == "The vault does not answer"
    assert "(ECONNREFUSED)" in down.error["description"]
    world.door.faults["/connections"] = (503, {})
    failing = world.run("listUserConnections")
    assert failing.error["message"] == "The vault answers 503"
    assert "Try again" in failing.error["description"]


def test_a_vault_that_is_slow_ends_in_an_error_and_not_in_waiting(world):
    """After ten seconds the node gives up."""
    world.door.slow_s = 12
    run = world.run("listUserConnections")
    assert run.error["message"] == "The vault does not answer"
    assert "(ECONNABORTED)" in run.error["description"] or "(ETIMEDOUT)" in run.error["description"]


def test_where_the_node_may_go_on_the_error_is_an_item(world):
    """OnError continueRegularOutput: an item with the words and the advice, and the others are served."""
    items = {
        "name": "Items", "type": "n8n-nodes-base.code", "typeVersion": 2,
        "parameters": {"jsCode": f"return [{{json: {{u: 'no uuid'}}}}, {{json: {{u: '{world.user}'}}}}]"},
    }  # fmt: skip
    run = world.run("listUserConnections", items, userId="={{ $json.u }}", on_error="continueRegularOutput")
    wrong, right = run.items("Vault")
    assert run.status == "success"
    assert wrong["error"] == "The vault does not understand the request"
    assert right["connectionId"] == world.connection


def test_the_editor_offers_the_vaults_services(world):
    """The list of services is the vault's and not the node's."""
    answer = world.n8n.ask(
        "POST",
        "/dynamic-node-parameters/options",
        {
            "path": "parameters.service",
            "nodeTypeAndVersion": {"name": package.TYPE, "version": 1},
            "currentNodeParameters": {"operation": "callServiceApi"},
            "methodName": "getServices",
            "credentials": world.login,
        },
    )
    assert {"name": "Notion", "value": "notion"} in answer


def test_the_credentials_own_test_asks_the_vault(world):
    """The button Test is green with the right token and red with another."""
    given = {"clientId": "acme", "apiUrl": world.door.url, "internalToken": world.live.token}
    assert world.n8n.try_credential(package.LOGIN, given)["status"] == "OK"
    assert world.n8n.try_credential(package.LOGIN, {**given, "internalToken": "y" * 64})["status"] == "Error"


# ------------------------------------------------------------------ a service
def test_a_call_carries_the_users_token_and_gives_back_the_answer_without_it(world):
    """The service gets the token in its header; of what it repeats, no form of the token is left."""
    run = world.call(
        "/v1/search", method="POST", query='{"size": "10"}', headers='{"x-one": "1"}', body='{"q": "Rapport"}'
    )
    (asked,) = world.service.asked
    assert (asked["method"], asked["path"], asked["query"]) == ("POST", "/v1/search", {"size": "10"})
    assert (asked["token"], asked["headers"]["x-one"], asked["body"]) == (world.token, "1", '{"q":"Rapport"}')
    (item,) = run.items("Vault")
    assert (item["statusCode"], item["connectionId"], item["body"]["ok"]) == (200, world.connection, True)
    echo = item["body"]["echo"]
    assert echo["header"] == "Bearer [token]"
    assert all("[token]" in form for form in echo.values()), echo
    assert item["headers"]["x-echo"] == "[token]"


def test_text_is_cleaned_too(world):
    """An answer that is no JSON is text without the token."""
    assert world.call("/text").items("Vault")[0]["body"] == "you are [token]"


def test_a_token_goes_in_the_header_that_the_service_wants(world):
    """A name and a prefix of one's own; the usual header is then not sent."""
    world.call("/x", options={"tokenHeader": "X-Api-Key", "tokenPrefix": ""})
    assert world.service.asked[0]["headers"]["x-api-key"] == world.token
    assert "authorization" not in world.service.asked[0]["headers"]


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("https://evil.example/v1", "evil.example is not a host of this service"),
        ("https://api.notion.com.evil.example/", "is not a host of this service"),
        ("http://api.notion.com/v1", "A token is sent over https only"),
        ("https://me:too@api.notion.com/", "The URL names a user"),
        ("api.notion.com", "The URL is not one"),
    ],
)
def test_a_token_goes_to_the_services_own_hosts_only(world, url, words):
    """Another host, no https, a misleading URL: refused before anything is sent."""
    run = world.run("callServiceApi", url=url)
    assert words in run.error["message"]
    assert world.service.asked == []


def test_a_redirect_is_not_followed(world):
    """The service cannot send the token elsewhere; the address it names holds no token either."""
    run = world.call("/status/302")
    assert "answers 302" in run.error["message"]
    assert "Redirects are not followed" in run.error["description"]
    assert [asked["path"] for asked in world.service.asked] == ["/status/302"]


@pytest.mark.parametrize(
    ("status", "advice"),
    [(401, "Check Connection Status"), (429, "at least 7 s"), (404, "Trying again will not help"), (500, "Try again")],
)
def test_what_a_service_refuses_is_an_error_with_advice(world, status, advice):
    """Its status, what to do, and its words without the token."""
    run = world.call(f"/status/{status}")
    assert run.error["message"] == f"localhost answers {status}"
    assert advice in run.error["description"]
    assert '"raw":"[token]"' in run.error["description"]
    assert str(run.error["httpCode"]) == str(status)


def test_a_workflow_may_look_at_the_status_itself(world):
    """Never Error: the answer is an item, whatever its status."""
    (item,) = world.call("/status/401", options={"neverError": True}).items("Vault")
    assert (item["statusCode"], item["body"]["ok"]) == (401, False)


def test_a_service_that_is_down_is_an_error_without_the_request(world):
    """Only the code of what happened, never the request with its header."""
    world.door.hosts["notion"].append("localhost:9")
    run = world.run("callServiceApi", url="https://localhost:9/x")
    world.door.hosts["notion"].remove("localhost:9")
    assert run.error["message"] == "localhost does not answer"
    assert "(ECONNREFUSED)" in run.error["description"]
    assert world.token not in str(run)
