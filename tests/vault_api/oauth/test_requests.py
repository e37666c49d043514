"""What is said to providers, in each of their dialects."""

from __future__ import annotations

import base64
import hmac
import json
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest

from otobotctl.vault_api.oauth import providers, requests

LOADED = providers.load()
CLIENT = requests.Client("the-client", "the-secret")


def test_a_body_of_a_form():
    """Google: credentials in the form, PKCE verifier with them."""
    made = requests.exchange(LOADED["google"], {}, CLIENT, "the-code", "https://v/cb", "verifier")
    said = {name: value[0] for name, value in parse_qs(made.body.decode()).items()}
    assert said == {
        "grant_type": "authorization_code", "code": "the-code", "redirect_uri": "https://v/cb",
        "code_verifier": "verifier", "client_id": "the-client", "client_secret": "the-secret",
    }  # fmt: skip
    assert made.headers["content-type"] == "application/x-www-form-urlencoded"
    assert "authorization" not in made.headers


def test_notion_wants_json_and_a_header():
    """Credentials by Basic, the body as JSON, a version; nothing of PKCE."""
    made = requests.refresh(LOADED["notion"], {}, CLIENT, "old")
    assert json.loads(made.body) == {"grant_type": "refresh_token", "refresh_token": "old"}
    assert made.headers["authorization"] == "Basic " + base64.b64encode(b"the-client:the-secret").decode()
    assert made.headers["notion-version"]


def test_a_shop_is_in_the_address_and_asks_for_expiring_tokens():
    """Shopify: the shop's own host; `expiring` only where a code is exchanged."""
    shop = {"shop": "acme"}
    made = requests.exchange(LOADED["shopify"], shop, CLIENT, "c", "https://v/cb", None)
    assert made.url == "https://acme.myshopify.com/admin/oauth/access_token"
    assert parse_qs(made.body.decode())["expiring"] == ["1"]
    assert "expiring" not in parse_qs(requests.refresh(LOADED["shopify"], shop, CLIENT, "r").body.decode())


def test_the_challenge_is_that_of_the_rfc():
    """RFC 7636, appendix B."""
    assert (
        requests.challenge("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")
        == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )


def test_scopes_are_joined_as_the_provider_wants():
    """Slack: by commas; a service without scopes has no scope parameter; Microsoft always asks for offline_access."""
    slack = requests.authorization(LOADED["slack"], {}, "c", "https://v", "s", wanted=("chat:write", "users:read"))
    assert "scope=chat%3Awrite%2Cusers%3Aread" in slack
    assert "scope" not in parse_qs(urlsplit(requests.authorization(LOADED["notion"], {}, "c", "https://v", "s")).query)
    assert requests.scopes(LOADED["microsoft"], ("Mail.Read",)) == ("Mail.Read", "offline_access")


@pytest.mark.parametrize("code", sorted(code for code, one in LOADED.items() if one.revocation))
def test_every_revocation_can_be_said(code):
    """Each entry's way to take a grant back makes a request that carries the token or names the account."""
    provider = LOADED[code]
    values = {name: parameter.example for name, parameter in provider.parameters.items()}
    values |= dict.fromkeys(provider.remember, "remembered")
    made = requests.revocation(provider, values, CLIENT, {"access": "the-access", "refresh": "the-refresh"})
    said = made.body.decode() + json.dumps(dict(made.headers)) + made.url
    assert any(word in said for word in ("the-access", "the-refresh", "remembered"))
    assert "{" not in made.url


def test_a_revocation_without_what_it_needs_is_none():
    """No token, or no remembered account: nothing is sent."""
    assert requests.revocation(LOADED["google"], {}, CLIENT, {"access": None, "refresh": None}) is None
    assert requests.revocation(LOADED["stripe"], {}, CLIENT, {"access": "a", "refresh": None}) is None


def test_github_deletes_a_token_of_an_application():
    """DELETE on the application's address, by Basic, the token as JSON."""
    made = requests.revocation(
        LOADED["github"], {}, requests.Client("Iv1.x/y", "s"), {"access": "gho", "refresh": None}
    )
    assert (made.method, made.url) == ("DELETE", "https://api.github.com/applications/Iv1.x%2Fy/token")
    assert json.loads(made.body) == {"access_token": "gho"}


def test_revocations_in_the_providers_own_ways():
    """Dropbox: the token as bearer and no body, so no type of one. Notion: JSON with its version. Stripe: its secret."""
    both = {"access": "the-access", "refresh": "the-refresh"}
    dropbox = requests.revocation(LOADED["dropbox"], {}, CLIENT, both)
    assert (dropbox.body, dict(dropbox.headers)) == (b"", {"authorization": "Bearer the-access"})
    notion = requests.revocation(LOADED["notion"], {}, CLIENT, both)
    assert json.loads(notion.body) == {"token": "the-access"}
    assert notion.headers["notion-version"] == LOADED["notion"].headers["notion-version"]
    stripe = requests.revocation(LOADED["stripe"], {"stripe_user_id": "acct_1"}, CLIENT, both)
    assert stripe.headers["authorization"] == "Bearer the-secret"
    assert parse_qs(stripe.body.decode()) == {"client_id": ["the-client"], "stripe_user_id": ["acct_1"]}


def test_shopifys_signature():
    """The HMAC of the sorted rest of the query: right passes, changed, doubled or missing does not."""
    said = {"code": "c", "shop": "acme.myshopify.com", "state": "s", "timestamp": "1"}
    message = "&".join(f"{name}={value}" for name, value in sorted(said.items()))
    sign = hmac.new(b"the-secret", message.encode(), "sha256").hexdigest()
    assert requests.signed(urlencode({**said, "hmac": sign}), "the-secret")
    assert not requests.signed(urlencode({**said, "shop": "evil.myshopify.com", "hmac": sign}), "the-secret")
    assert not requests.signed(urlencode({**said, "hmac": sign}) + f"&hmac={sign}", "the-secret")
    assert not requests.signed(urlencode(said), "the-secret")
    assert not requests.signed(urlencode({**said, "hmac": sign}), "another")


def test_credentials_do_not_show():
    """No repr has an application's secret."""
    assert "the-secret" not in repr(CLIENT)
    assert "the-secret" not in repr(requests.refresh(LOADED["google"], {}, CLIENT, "old"))
