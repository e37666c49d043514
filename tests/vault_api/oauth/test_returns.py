"""Where a browser may be sent back to."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from otobotctl.vault_api.oauth import returns

ORIGINS = ("https://tools.acme.example", "http://localhost:8082")

REFUSED = [
    "", "/", "//evil.example", "///evil.example", "\\\\evil.example", "/\\evil.example", "javascript:alert(1)",
    "JaVaScRiPt:alert(1)", "data:text/html,x", "vbscript:x", "tools.acme.example", "//tools.acme.example",
    "https:tools.acme.example", "https:/tools.acme.example", "https:///tools.acme.example", "https:\\\\tools.acme.example",
    "http://tools.acme.example", "https://tools.acme.example:8443", "https://tools.acme.example:443", "ftp://tools.acme.example",
    "https://evil.example", "https://evil.example/https://tools.acme.example", "https://evil.example?https://tools.acme.example",
    "https://evil.example#https://tools.acme.example", "https://tools.acme.example.evil.example",
    "https://tools.acme.example@evil.example", "https://tools.acme.example:x@evil.example/", "https://@tools.acme.example",
    "https://user@tools.acme.example", "https://tools.acme.example\\@evil.example", "https://tools.acme.example\\.evil.example",
    "https://tools.acme.example%2f@evil.example", "https://tools.acme.example%00.evil.example", "https://tools.acme.example\n",
    " https://tools.acme.example", "https://tools.acme.example/\r\nset-cookie: x=1", "https://tools.acme.example/\t",
    "https://tools.acme.example/a b", "https://tools.acme.example/\u2025", "https://tools.acme.example\uff0f@evil.example",
    "https://tools\u3002acme.example", "https://t\u043eols.acme.example", "https://[::1]/", "https://evil-tools.acme.example",
    "http://localhost", "http://localhost:80820", "http://127.0.0.1:8082", "https://tools.acme.example." , "https://tools.acme.example/" + "a" * 3000,
    "https://tools.acme.example;@evil.example", "https://tools.acme.example&@evil.example", "https://tools.acme.example<script>",
]  # fmt: skip


@pytest.mark.parametrize("url", REFUSED)
def test_an_open_redirect_is_refused(url):
    """Other origins, and every way of writing one that a browser reads differently."""
    assert not returns.allowed(url, ORIGINS)


@pytest.mark.parametrize(
    "url",
    ["https://tools.acme.example", "https://tools.acme.example/", "https://tools.acme.example/apps/1?tab=a%20b#x",
     "https://TOOLS.acme.example/", "http://localhost:8082/x", "https://tools.acme.example?x=//evil.example"],
)  # fmt: skip
def test_an_origin_on_the_list_is_allowed(url):
    """With any plain path, query and fragment; an empty list allows nothing."""
    assert returns.allowed(url, ORIGINS)
    assert not returns.allowed(url, ())


@given(st.text(max_size=40), st.text(alphabet="/\\@:.?#%evil", max_size=20))
def test_nothing_allowed_leads_elsewhere(text, tail):
    """Whatever follows an allowed origin, the host that a parser finds is the allowed one."""
    for url in (text, f"https://tools.acme.example{tail}", f"https://tools.acme.example{text}"):
        if returns.allowed(url, ORIGINS):
            parts = urlsplit(url)
            assert f"{parts.scheme}://{parts.netloc}".lower() in ORIGINS


def test_the_way_back_carries_the_outcome_and_no_more():
    """What was in the query stays, except our own words; an error is a code."""
    url = returns.back("https://tools.acme.example?tab=1&oauth=success&error=x", "google", "access_denied")
    assert parse_qs(urlsplit(url).query) == {
        "tab": ["1"], "oauth": ["error"], "service": ["google"], "error": ["access_denied"],
    }  # fmt: skip
    assert (
        returns.back("https://tools.acme.example/a#b", "google")
        == "https://tools.acme.example/a?oauth=success&service=google#b"
    )
