"""Cross-origin requests: exact origins only."""

from __future__ import annotations

import pytest

from otobotctl.vault_api.access import cors

PAGE = "https://app.acme.example"
ALLOWED = frozenset({PAGE})


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "http://app.acme.example",
        "https://app.acme.example.evil.example",
        "https://app.acme.example:444",
        "https://APP.acme.example",
        "https://app.acme.example/",
        "null",
        "*",
        "",
    ],
)
def test_other_origins_get_nothing(origin):
    """A preflight of another origin is refused, and its answers carry no permission."""
    status, headers = cors.preflight(origin, "GET", ALLOWED)
    assert status == 403
    assert not [name for name, _ in headers if name.startswith("access-control")]
    assert not [name for name, _ in cors.answering(origin, ALLOWED) if name.startswith("access-control")]


def test_an_allowed_page_may_call():
    """Its preflight is answered with what it may send; its answers name it, and caches keep origins apart."""
    status, headers = cors.preflight(PAGE, "DELETE", ALLOWED)
    told = dict(headers)
    assert status == 204
    assert told["access-control-allow-origin"] == PAGE
    assert "DELETE" in told["access-control-allow-methods"]
    assert "authorization" in told["access-control-allow-headers"]
    assert "access-control-allow-credentials" not in told
    assert told["vary"] == "origin"
    assert dict(cors.answering(PAGE, ALLOWED))["access-control-allow-origin"] == PAGE


def test_internal_headers_are_never_allowed_from_a_page():
    """A page cannot send the tokens of n8n or the operators."""
    told = dict(cors.preflight(PAGE, "GET", ALLOWED)[1])
    assert "token" not in told["access-control-allow-headers"]


@pytest.mark.parametrize("method", ["TRACE", "CONNECT", "get", "GET, POST", ""])
def test_other_methods_are_refused(method):
    """Only the methods of the API."""
    assert cors.preflight(PAGE, method, ALLOWED)[0] == 403


def test_without_origins_nothing_is_added():
    """No page is configured: no header at all."""
    assert cors.answering(PAGE, frozenset()) == []
    assert cors.preflight(PAGE, "GET", frozenset())[0] == 403


def test_an_ordinary_options_is_no_preflight():
    """Both headers make a preflight."""
    assert cors.is_preflight("OPTIONS", PAGE, "GET")
    assert not cors.is_preflight("OPTIONS", None, "GET")
    assert not cors.is_preflight("OPTIONS", PAGE, None)
    assert not cors.is_preflight("GET", PAGE, "GET")
