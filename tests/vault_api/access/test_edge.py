"""The outer ring over the whole application: what reaches the routes, the limits and the browser."""

from __future__ import annotations

import asyncio

import pytest

from otobotctl.vault_api.access.edge import Edge

PAGE = "https://app.acme.example"


def through(method="GET", headers=(), *, hops=0, origins=(PAGE,), peer="10.0.0.2"):
    """(the address that the application saw or None, the status, the headers of the answer)."""
    seen, sent = [], []

    async def app(scope, _receive, send):
        seen.append(scope.get("caller_address"))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]})
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(message):
        sent.append(message)

    raw = [(name.encode(), value.encode()) for name, value in headers]
    scope = {"type": "http", "method": method, "headers": raw, "client": (peer, 1)}
    asyncio.run(Edge(app, hops, origins)(scope, None, send))
    return seen, sent[0]["status"], {name.decode(): value.decode() for name, value in sent[0]["headers"]}


def test_the_address_is_the_one_our_proxy_saw():
    """With one proxy its own entry counts, however many a caller puts before it, in one header or several."""
    for forged in ((), (("x-forwarded-for", "198.51.100.1"),), (("x-forwarded-for", "1.1.1.1, 2.2.2.2"),)):
        seen, _, _ = through(headers=(*forged, ("x-forwarded-for", "203.0.113.7")), hops=1)
        assert seen == ["203.0.113.7"]


def test_without_proxies_the_header_changes_nothing():
    """The scope is left as the guard made it."""
    assert through(headers=[("x-forwarded-for", "203.0.113.7")], hops=0)[0] == [None]


def test_a_preflight_is_answered_here():
    """The application is not asked; an allowed page gets its permissions, another one 403 and none."""
    asked = [("origin", PAGE), ("access-control-request-method", "PATCH")]
    seen, status, headers = through("OPTIONS", asked)
    assert (seen, status) == ([], 204)
    assert headers["access-control-allow-origin"] == PAGE
    other = [("origin", "https://evil.example"), ("access-control-request-method", "PATCH")]
    seen, status, headers = through("OPTIONS", other)
    assert (seen, status) == ([], 403)
    assert not [name for name in headers if name.startswith("access-control")]


@pytest.mark.parametrize(("origin", "allowed"), [(PAGE, True), ("https://evil.example", False), ("null", False)])
def test_an_answer_is_readable_for_allowed_pages_only(origin, allowed):
    """The application's own headers stay; the permission is added for the page that is configured."""
    _, status, headers = through(headers=[("origin", origin)])
    assert (status, headers["x-own"]) == (200, "1")
    assert ("access-control-allow-origin" in headers) is allowed


def test_without_an_origin_nothing_is_added():
    """n8n and the command are no browsers."""
    assert through()[2] == {"x-own": "1"}
