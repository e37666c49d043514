"""The endpoints around connecting: what there is to connect through, by whom, and refreshing by hand."""

from __future__ import annotations

from urllib.parse import urlencode
from uuid import uuid4

import pytest

from .browser import BACK, run, standing, token

pytestmark = pytest.mark.usefixtures("logins")


def test_the_applications_are_listed_without_their_credentials(place):
    """GET /api/oauth/apps: what there is to connect through."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()
            answer = await one.get("/api/oauth/apps", authorization=f"Bearer {user}")
            (app,) = answer.json()["apps"]
            assert (app["service_name"], app["display_name"], app["is_global"]) == ("stub", "Stub", False)
            assert "SECRET" not in answer.text
            assert "stub-client" not in answer.text
            assert (await one.get("/api/oauth/apps")).status_code == 401

    run(test)


def test_the_services_and_where_their_tokens_may_go(place):
    """GET /api/internal/services: every service of the file, with the hosts of its API."""

    async def test():
        async with standing(place) as (_, _user, browser):
            answer = await browser().get("/api/internal/services", **token(place))
            found = {one["code"]: one for one in answer.json()["services"]}
            assert found["google"] == {
                "code": "google", "displayName": "Google", "oauthType": "oauth2", "apiHosts": ["*.googleapis.com"],
            }  # fmt: skip
            assert found["openai"]["oauthType"] == "api_key"
            assert "stub" in found
            assert (await browser().get("/api/internal/services")).status_code == 401

    run(test)


def test_parameters_are_checked(place):
    """A service without parameters takes none; one with takes only what its pattern lets pass."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()

            async def ask(service, parameters):
                said = urlencode({"userId": str(user), "returnUrl": BACK, "parameters": parameters})
                answer = await one.get(f"/api/oauth/connect/{service}?{said}", **token(place))
                return answer.status_code, answer.json().get("code") if answer.content else ""

            assert await ask("stub", "shop=acme") == (400, "invalid_request")
            assert await ask("shopify", "shop=acme") == (404, "oauth_application_not_found")
            for hostile in ("shop=evil.example/", "shop=a%2Fb", "shop=a@b", "", "shop=a&shop=b", "x"):
                assert await ask("shopify", hostile) == (400, "invalid_request")

    run(test)


def test_a_user_may_refresh_his_own_only(place):
    """One of his connections, by name; not another's, and not everybody's."""

    async def test():
        async with standing(place) as (vault, user, browser):
            one = browser()
            owner, connection = await place.connected(vault, expires_in_s=7200)

            async def ask(who, query=""):
                headers = {"authorization": f"Bearer {who}"}
                return (await one.client.post(f"/api/internal/refresh-tokens{query}", headers=headers)).status_code

            assert await ask(user) == 400
            assert await ask(user, f"?connectionId={connection}") == 404
            assert await ask(owner, f"?connectionId={connection}") == 200

    run(test)
    assert len(place.stub.refreshes) == 1


def test_refresh_tokens_by_hand(place):
    """POST refresh-tokens: what is due, in the shape of the platform's documents; one connection on request."""

    async def test():
        async with standing(place) as (vault, _user, browser):
            one = browser()
            _, connection = await place.connected(vault)
            _, fresh = await place.connected(vault, expires_in_s=7200)
            answer = await one.client.post("/api/internal/refresh-tokens", headers=token(place))
            assert answer.json() == {
                "processed": 1, "results": [{"id": str(connection), "outcome": "refreshed", "reason": ""}], "pending": 0,
            }  # fmt: skip
            again = await one.client.post("/api/internal/refresh-tokens", headers=token(place))
            assert again.json() == {"processed": 0, "results": [], "pending": 0}
            named = await one.client.post(f"/api/internal/refresh-tokens?connectionId={fresh}", headers=token(place))
            assert named.json()["results"][0]["outcome"] == "refreshed"
            gone = await one.client.post(f"/api/internal/refresh-tokens?connectionId={uuid4()}", headers=token(place))
            assert gone.status_code == 404
            assert (await one.client.post("/api/internal/refresh-tokens")).status_code == 401
            assert place.audit(fresh) == ["asked", "refreshed"]

    run(test)
