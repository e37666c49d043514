"""What providers answer, as recorded shapes and as noise."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from otobotctl.vault_api.oauth import answers, providers
from otobotctl.vault_api.oauth.outbound import Response

LOADED = providers.load()
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)


def read(code, status, body, **headers):
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    provider = LOADED[code]
    values = {name: parameter.example for name, parameter in provider.parameters.items()}
    return answers.read(provider, values, Response(status, headers, data), NOW)


def test_the_usual_answer():
    """Google's answer: both tokens, the expiry counted from now, the scopes split."""
    body = {
        "access_token": "a",
        "refresh_token": "r",
        "expires_in": 3599,
        "scope": "openid email",
        "token_type": "Bearer",
    }
    tokens = read("google", 200, body)
    assert (tokens.access, tokens.refresh, tokens.scopes) == ("a", "r", ("openid", "email"))
    assert tokens.expires_at == NOW + timedelta(seconds=3599)
    assert "refresh" not in repr(tokens)


def test_slack_gives_a_users_token_one_level_down():
    """Without a bot's token the user's is taken, with the refresh token and expiry beside it."""
    user = {
        "id": "U1",
        "access_token": "xoxe.xoxp-1",
        "refresh_token": "xoxe-1",
        "expires_in": 43200,
        "scope": "chat:write",
    }
    tokens = read("slack", 200, {"ok": True, "team": {"id": "T1", "name": "Acme"}, "authed_user": user})
    assert (tokens.access, tokens.refresh, tokens.account) == ("xoxe.xoxp-1", "xoxe-1", "Acme")
    assert tokens.remembered == {"team_id": "T1"}
    assert tokens.expires_at == NOW + timedelta(hours=12)


@pytest.mark.parametrize(
    ("code", "status", "body", "error", "permanent"),
    [
        (
            "google",
            400,
            {"error": "invalid_grant", "error_description": "Token has been revoked."},
            "invalid_grant",
            True,
        ),
        ("jira", 403, {"error": "invalid_grant"}, "invalid_grant", True),
        ("slack", 200, {"ok": False, "error": "invalid_refresh_token"}, "invalid_refresh_token", True),
        ("slack", 200, {"ok": False, "error": "ratelimited"}, "ratelimited", False),
        ("slack", 200, {"ok": False}, "failed", False),
        ("github", 200, {"error": "bad_refresh_token"}, "bad_refresh_token", True),
        ("google", 401, {"error": "invalid_client"}, "invalid_client", False),
        ("google", 400, {"error": {"code": 400}}, "http_400", False),
        ("google", 400, b"<html>", "http_400", False),
        ("google", 200, b"<html>", "not_json", False),
        ("google", 200, b"", "not_json", False),
        ("google", 200, [], "not_json", False),
        ("google", 200, {}, "no_token", False),
        ("google", 200, {"access_token": ""}, "no_token", False),
        ("google", 200, {"access_token": "a\nb"}, "no_token", False),
        ("google", 200, {"access_token": "a" * 20000}, "no_token", False),
        ("google", 302, b"", "not_json", False),
        ("google", 500, {"error": "invalid_grant"}, "http_500", False),
        ("google", 503, {"access_token": "a"}, "http_503", False),
        ("google", 429, {"error": "invalid_grant"}, "http_429", False),
    ],
)
def test_what_is_permanent_and_what_passes(code, status, body, error, permanent):
    """invalid_grant and what an entry lists end a grant; a fault of the provider, garbage or our own secret does not."""
    refusal = read(code, status, body)
    assert (refusal.code, refusal.permanent) == (error, permanent)


def test_the_wait_that_a_provider_asks_for():
    """Retry-After is kept, and capped."""
    assert read("google", 429, b"", **{"retry-after": "120"}).after_s == 120
    assert read("google", 429, b"", **{"retry-after": "999999"}).after_s == 3600
    assert read("google", 429, b"", **{"retry-after": "Wed"}).after_s is None


def test_expiry_is_what_the_entry_says():
    """Mailchimp's zero is for ever; Salesforce's silence is an hour; a text counts; nonsense is no expiry."""
    assert read("mailchimp", 200, {"access_token": "a", "expires_in": 0, "scope": None}).expires_at is None
    assert read("salesforce", 200, {"access_token": "a"}).expires_at == NOW + timedelta(hours=1)
    assert read("google", 200, {"access_token": "a", "expires_in": "60"}).expires_at == NOW + timedelta(seconds=60)
    for nonsense in (-5, True, None, [], 0):
        assert read("google", 200, {"access_token": "a", "expires_in": nonsense}).expires_at is None
    assert read("google", 200, {"access_token": "a", "expires_in": 1e30}).expires_at == NOW + timedelta(days=3650)


def test_expiry_in_other_units_and_earlier():
    """Milliseconds count as such; an entry may say that tokens end sooner than the provider says."""
    provider = msgspec.structs.replace(LOADED["google"], expires_in_unit="milliseconds", early_s=10)
    answer = Response(200, {}, b'{"access_token": "a", "expires_in": 60000}')
    assert answers.read(provider, {}, answer, NOW).expires_at == NOW + timedelta(seconds=50)


def test_what_is_remembered_and_whose_account():
    """Salesforce's instance and Shopify's shop are kept; a value that is no short text is not."""
    body = {"access_token": "a", "instance_url": "https://acme.my.salesforce.com", "id": "https://login/id/1"}
    assert read("salesforce", 200, body).remembered == {"instance_url": "https://acme.my.salesforce.com"}
    assert read("salesforce", 200, {"access_token": "a", "instance_url": {"x": 1}}).remembered == {}
    assert read("shopify", 200, {"access_token": "a"}).account == "acme"


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["access_token", "refresh_token", "expires_in", "error", "ok", "status", "authed_user", "scope", "team"]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=10,
)


@given(
    code=st.sampled_from(sorted(LOADED)),
    status=st.integers(100, 599),
    body=st.binary() | JSON.map(lambda v: json.dumps(v).encode()),
)
def test_whatever_comes_is_tokens_or_a_refusal(code, status, body):
    """No answer raises, and none is both."""
    found = read(code, status, body)
    assert isinstance(found, answers.Tokens | answers.Refusal)
    if isinstance(found, answers.Tokens):
        assert found.access
        assert status < 400
