"""Connecting, over the endpoints, with a browser whose cookies the test holds."""

from __future__ import annotations

import asyncio
import re
import secrets
from urllib.parse import parse_qsl, urlencode, urlsplit
from uuid import uuid4

import pytest

from otobotctl.vault_api import contract
from otobotctl.vault_api.actor import INTERNAL
from otobotctl.vault_api.oauth import requests
from otobotctl.vault_api.reads import Asked

from .browser import BACK, begin, outcome, run, standing, token
from .conftest import ORIGIN, PUBLIC

pytestmark = pytest.mark.usefixtures("logins")


def test_a_connect_from_beginning_to_end(place):
    """Two redirects to the provider, one back; the tokens are stored sealed, and no page has seen one."""

    async def test():
        async with standing(place) as (vault, user, browser):
            one = browser()
            url = await begin(one, place, user)
            query = dict(parse_qsl(urlsplit(url).query))
            assert query["redirect_uri"] == f"{PUBLIC}/api/oauth/callback/stub"
            assert (query["code_challenge_method"], query["scope"]) == ("S256", "one")
            answer = await one.get(await one.consent(url, iss=f"http://127.0.0.1:{place.port}"))
            assert outcome(answer) == {"oauth": "success", "service": "stub"}
            found = await vault.reads.read(Asked(str(user), "stub", str(uuid4()), INTERNAL))
            assert found.access_token == "access-SECRET-lea-1"
            assert (found.account, found.refreshable) == ("lea", True)

    run(test)
    assert place.stub.exchanges == [True]
    ((scopes, app, sealed),) = place.ask("SELECT scopes, oauth_app_id, encrypted_refresh_token FROM client_connections")
    assert (scopes, bool(app)) == (["one", "two"], True)
    assert "SECRET" not in sealed
    trail = place.ask("SELECT access_type, outcome, accessed_by FROM credential_access_logs ORDER BY id")
    assert [row[:2] for row in trail][1:4] == [("ticket", "issued"), ("connect", "started"), ("store", "created")]
    assert trail[1][2] == "internal:n8n"
    assert place.ask("SELECT (SELECT count(*) FROM oauth_states) + (SELECT count(*) FROM oauth_tickets)") == [(0,)]


def test_the_cookie_is_as_closed_as_can_be(place):
    """HttpOnly, Secure, SameSite=Lax, ten minutes, the __Host- prefix; taken away at the end; nothing is cached or referred."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()
            first = await one.get(
                f"/api/oauth/connect/stub?{urlencode({'userId': str(user), 'returnUrl': BACK})}", **token(place)
            )
            second = await one.get(first.headers["location"])
            cookie = second.headers["set-cookie"]
            assert re.match(r"__Host-otobot-oauth-[0-9a-f]{16}=[A-Za-z0-9_-]{43}; ", cookie)
            assert {"HttpOnly", "Secure", "SameSite=Lax", "Max-Age=600", "Path=/"} <= set(cookie.split("; "))
            for answer in (first, second):
                assert answer.headers["referrer-policy"] == "no-referrer"
                assert answer.headers["cache-control"] == "no-store"
            state = dict(parse_qsl(urlsplit(second.headers["location"]).query))["state"]
            assert len(state) >= 43
            stored = place.ask("SELECT state_hash, cookie_hash, encrypted_verifier FROM oauth_states")
            assert state.encode() not in bytes(stored[0][0]) + bytes(stored[0][1])
            done = await one.get(await one.consent(second.headers["location"]))
            assert "Max-Age=0" in done.headers["set-cookie"]

    run(test)


def test_a_state_is_good_once(place):
    """The same callback again, in the same browser, is refused and changes nothing."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()
            url = await one.consent(await begin(one, place, user))
            cookies = dict(one.client.cookies)
            assert outcome(await one.get(url))["oauth"] == "success"
            one.client.cookies.update(cookies)
            again = await one.get(url)
            assert (again.status_code, again.json()["code"]) == (400, "invalid_state")

    run(test)
    assert place.stub.exchanges == [True]


def test_two_callbacks_at_once_get_one_exchange(place):
    """A state is taken out in one statement."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()
            url = await one.consent(await begin(one, place, user))
            answers = await asyncio.gather(*(one.get(url) for _ in range(8)))
            assert sorted(answer.status_code for answer in answers) == [302] + [400] * 7

    run(test)
    assert place.stub.exchanges == [True]


def test_another_browser_cannot_finish_a_connect(place):
    """Neither without a cookie nor with that of another connect of its own: an answer that a stranger began stays his."""

    async def test():
        async with standing(place) as (vault, user, browser):
            victim_user = await place.user(vault)
            stranger, victim = browser(), browser()
            url = await stranger.consent(await begin(stranger, place, user), account="stranger")
            bare = await victim.get(url)
            assert (bare.status_code, bare.json()["code"]) == (400, "invalid_state")
            url = await stranger.consent(await begin(stranger, place, user), account="stranger")
            await begin(victim, place, victim_user)
            own = next(iter(victim.client.cookies.jar))
            wanted = next(cookie for cookie in stranger.client.cookies.jar)
            swapped = await victim.get(url, cookie=f"{wanted.name}={own.value}")
            assert swapped.status_code == 400
            assert place.ask("SELECT count(*) FROM client_connections") == [(0,)]

    run(test)
    assert place.stub.exchanges == []


@pytest.mark.parametrize("what", ["state", "ticket"])
def test_what_has_expired_is_refused(place, what):
    """A state after ten minutes, a ticket after two."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()
            said = urlencode({"userId": str(user), "returnUrl": BACK})
            first = await one.get(f"/api/oauth/connect/stub?{said}", **token(place))
            if what == "ticket":
                ((left,),) = place.ask("SELECT expires_at - now() <= '2 minutes' FROM oauth_tickets")
                assert left
                place.ask("UPDATE oauth_tickets SET expires_at = now() - interval '1 second'")
                late = await one.get(first.headers["location"])
                assert (late.status_code, late.json()["code"]) == (400, "invalid_ticket")
                return
            second = await one.get(first.headers["location"])
            ((left,),) = place.ask("SELECT expires_at - now() <= '10 minutes' FROM oauth_states")
            assert left
            place.ask("UPDATE oauth_states SET expires_at = now() - interval '1 second'")
            late = await one.get(await one.consent(second.headers["location"]))
            assert outcome(late) == {"oauth": "error", "service": "stub", "error": "expired"}

    run(test)
    assert place.stub.exchanges == []


def test_a_ticket_is_good_once_and_for_its_service(place):
    """Opened again, or on another service's address, it is refused, and is gone."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()
            said = urlencode({"userId": str(user), "returnUrl": BACK})
            first = (await one.get(f"/api/oauth/connect/stub?{said}", **token(place))).headers["location"]
            assert (await one.get(first)).status_code == 302
            assert (await one.get(first)).status_code == 400
            other = (await one.get(f"/api/oauth/connect/stub?{said}", **token(place))).headers["location"]
            assert (await one.get(other.replace("/stub/", "/google/"))).status_code == 404
            place.ask("UPDATE oauth_tickets SET service_code = 'google'")
            assert (await one.get(other)).status_code == 400
            assert place.ask("SELECT count(*) FROM oauth_tickets") == [(0,)]

    run(test)


def test_who_may_begin(place):
    """Nobody unknown; a user for himself only; n8n and an operator for a user that they name and that exists."""

    async def test():
        async with standing(place) as (vault, user, browser):
            one, other = browser(), await place.user(vault)

            async def ask(headers, **query):
                said = urlencode({"returnUrl": BACK, **query})
                return (await one.get(f"/api/oauth/connect/stub?{said}", **headers)).status_code

            bearer = {"authorization": f"Bearer {user}"}
            operator = {contract.OPERATOR_HEADER: place.environment["VAULT_OPERATOR_TOKEN"]}
            assert await ask({}, userId=str(user)) == 401
            assert await ask({contract.TOKEN_HEADER: secrets.token_hex(24)}, userId=str(user)) == 401
            assert await ask(bearer) == 302
            assert await ask(bearer, userId=str(user)) == 302
            assert await ask(bearer, userId=str(other)) == 404
            assert await ask(token(place)) == 400
            assert await ask(token(place), userId=str(uuid4())) == 404
            assert await ask(operator, userId=str(other)) == 302
            body = {"returnUrl": BACK}
            made = await one.client.post("/api/oauth/connect/stub", json=body, headers=bearer)
            assert (made.status_code, made.json()["expiresIn"]) == (201, 120)
            assert made.json()["url"].startswith(f"{PUBLIC}/api/oauth/connect/stub/start?ticket=")
            assert (await one.client.post("/api/oauth/connect/stub", json=body)).status_code == 401

    run(test)


def test_a_guessed_user_id_binds_nothing(place):
    """Without a credential neither connect nor start leads anywhere, whatever id is named."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()
            for path in (
                f"/api/oauth/connect/stub?{urlencode({'userId': str(user), 'returnUrl': BACK})}",
                f"/api/oauth/connect/stub/start?ticket={secrets.token_urlsafe(32)}",
                f"/api/oauth/connect/stub/start?userId={user}&returnUrl={BACK}",
            ):
                assert (await one.get(path)).status_code in {400, 401}
            assert place.ask("SELECT count(*) FROM oauth_states") == [(0,)]

    run(test)


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"iss": "https://evil.example"}, "wrong_issuer"),
        ({"code": None, "error": "access_denied"}, "access_denied"),
        ({"code": None, "error": "<script>"}, "provider_error"),
        ({"code": None}, "no_code"),
        ({"code": "wrong"}, "exchange_failed"),
    ],
)
def test_what_goes_wrong_at_the_provider_is_a_code(place, change, error):
    """The browser comes back with a code of ours; no text of the provider's passes."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()
            answer = await one.get(await one.consent(await begin(one, place, user), **change))
            assert outcome(answer) == {"oauth": "error", "service": "stub", "error": error}
            assert place.ask("SELECT count(*) FROM client_connections") == [(0,)]

    run(test)
    failures = place.ask("SELECT details ->> 'reason' FROM credential_access_logs WHERE outcome = 'failed'")
    assert failures == [(error,)]


@pytest.mark.parametrize("state", ["", "x", "a" * 43, "%00", "a" * 5000])
def test_an_unknown_state_sends_nobody_anywhere(place, state):
    """400 in our shape, no redirect."""

    async def test():
        async with standing(place) as (_, _user, browser):
            answer = await browser().get(f"/api/oauth/callback/stub?code=c&state={state}")
            assert answer.status_code == 400
            assert "location" not in answer.headers

    run(test)


@pytest.mark.parametrize(
    "url", ["https://evil.example/", "//evil.example", "javascript:alert(1)", f"{ORIGIN}@evil.example"]
)
def test_a_return_address_that_is_not_on_the_list_gets_no_ticket(place, url):
    """400 before anything is stored."""

    async def test():
        async with standing(place) as (_, user, browser):
            said = urlencode({"userId": str(user), "returnUrl": url})
            assert (await browser().get(f"/api/oauth/connect/stub?{said}", **token(place))).status_code == 400
            assert place.ask("SELECT count(*) FROM oauth_tickets") == [(0,)]

    run(test)


def test_connecting_again_replaces(place):
    """The same user and service: the same row with the new tokens, mended if it was broken."""

    async def test():
        async with standing(place) as (vault, user, browser):
            one = browser()
            await one.get(await one.consent(await begin(one, place, user)))
            ((before,),) = place.ask("SELECT id FROM client_connections")
            place.ask("UPDATE client_connections SET status = 'broken', refresh_failures = 5")
            assert outcome(await one.get(await one.consent(await begin(one, place, user)))) == {
                "oauth": "success",
                "service": "stub",
            }
            assert place.ask("SELECT id, status, refresh_failures FROM client_connections") == [(before, "active", 0)]
            assert (
                await vault.reads.read(Asked(str(user), "stub", str(uuid4()), INTERNAL))
            ).access_token == "access-SECRET-lea-2"

    run(test)


def test_a_code_is_worth_nothing_without_the_verifier(place):
    """PKCE: a code that was stolen and injected into another connect is refused by the provider."""

    async def test():
        async with standing(place) as (_, user, browser):
            one = browser()
            first = dict(parse_qsl(urlsplit(await begin(one, place, user)).query))
            stolen = place.stub.authorize(first, "victim")
            answer = await one.get(await one.consent(await begin(one, place, user), code=stolen))
            assert outcome(answer)["error"] == "exchange_failed"
            assert first["code_challenge"] != requests.challenge("")

    run(test)
