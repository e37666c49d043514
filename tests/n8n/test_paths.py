"""`names: paths`: the real n8n below /n8n/ of a client's domain, told so as rendered, behind the rendered proxies."""

from __future__ import annotations

import re
import socket
import ssl
from urllib.parse import urlsplit

import httpx
import pytest

from tests.n8n import real
from tests.render import test_caddy, test_nginx
from tests.render.sample import rendered
from tests.render.test_caddy import caddy  # noqa: F401 - a fixture
from tests.render.test_names import fleet_with
from tests.render.test_nginx import folder, nginx  # noqa: F401 - fixtures
from tests.render.test_services import environment as rendered_environment

# What the rendering says of the path; the database is the test's own.
TOLD = (
    "N8N_HOST",
    "N8N_PATH",
    "N8N_PROTOCOL",
    "WEBHOOK_URL",
    "N8N_EDITOR_BASE_URL",
    "N8N_PROXY_HOPS",
    "N8N_SECURE_COOKIE",
)
HOOK = {
    "name": "Webhook",
    "type": "n8n-nodes-base.webhook",
    "typeVersion": 1,
    "position": [0, 0],
    "id": "1",
    "webhookId": "hello",
    "parameters": {"path": "hello", "httpMethod": "GET", "responseMode": "onReceived"},
}


@pytest.fixture(scope="module")
def n8n(tree, postgres, tmp_path_factory):
    """n8n as a client with `names: paths` has it."""
    name, password = real.own_database(postgres.server)
    said = rendered_environment(rendered(fleet_with()), "n8n")
    settings = {**real.database_settings(postgres.server, name, password), **{word: said[word] for word in TOLD}}
    with real.serving(tree, tmp_path_factory.mktemp("n8n"), settings) as running:
        yield running


@pytest.fixture(params=["nginx", "caddy"])
def visitor(request, n8n, folder):  # noqa: F811
    """A client of https://acme.example that a real proxy answers, logged in to n8n."""
    program, port = request.getfixturevalue(request.param), urlsplit(n8n.url).port
    if request.param == "nginx":
        places = {"set $upstream n8n.acme": "set $upstream 127.0.0.1", "$upstream:5678": f"$upstream:{port}"}
        fleet = fleet_with(settings={"nginx": {"version": program[1], "ipv6": False}})
        serving = test_nginx.served(program[0], folder, fleet, places)
    else:
        places = {"reverse_proxy n8n.acme:5678": f"reverse_proxy 127.0.0.1:{port}"}
        serving = test_caddy.served(program, folder, fleet_with("caddy"), places)
    with serving as (_, tls), httpx.Client(verify=False, trust_env=False, timeout=60) as client:
        client.headers.update({"Host": "acme.example", "Cookie": f"n8n-auth={n8n.http.cookies['n8n-auth']}"})

        def ask(method, path, body=None):
            extensions = {"sni_hostname": "acme.example"}
            return client.request(method, f"https://127.0.0.1:{tls}{path}", json=body, extensions=extensions)

        ask.port, ask.cookie = tls, client.headers["Cookie"]
        yield ask


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_editor_asks_for_nothing_outside_its_path(visitor):
    """Every file that its page names is below /n8n/ and there."""
    page = visitor("GET", "/n8n/")
    assert page.status_code == 200
    links = {link for link in re.findall(r'(?:src|href)="([^"]+)"', page.text) if link.startswith("/")}
    assert len(links) > 20
    assert [link for link in links if not link.startswith("/n8n/")] == []
    for link in sorted(links):
        answer = visitor("GET", link)
        assert (answer.status_code, "text/html" in answer.headers["content-type"]) == (200, False), link


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_workflow_is_made_and_its_webhook_answers(visitor):
    """The session holds through the path, and what n8n registers at /webhook/ is found at /n8n/webhook/."""
    assert visitor("GET", "/n8n/rest/users").status_code == 200
    body = {"name": "hello", "active": False, "settings": {}, "nodes": [HOOK], "connections": {}}
    made = visitor("POST", "/n8n/rest/workflows", body).json()["data"]
    change = {"active": True, "versionId": made["versionId"]}
    assert visitor("PATCH", f"/n8n/rest/workflows/{made['id']}", change).status_code == 200
    assert visitor("GET", "/n8n/webhook/hello").json() == {"message": "Workflow was started"}
    assert visitor("GET", "/n8n/metrics").status_code == 404
    off = visitor("GET", f"/n8n/rest/workflows/{made['id']}").json()["data"]
    change = {"active": False, "versionId": off["versionId"]}
    assert visitor("PATCH", f"/n8n/rest/workflows/{made['id']}", change).status_code == 200


def test_the_editors_connection_opens(visitor):
    """The websocket that tells the editor of its executions passes the proxy."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", visitor.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="acme.example") as line,
    ):
        line.sendall(
            "GET /n8n/rest/push?pushRef=abc HTTP/1.1\r\nHost: acme.example\r\nOrigin: https://acme.example\r\n"
            "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nCookie: {visitor.cookie}\r\n\r\n".encode()
        )
        assert line.recv(4096).startswith(b"HTTP/1.1 101")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_its_cookie_is_for_its_path(visitor):
    """What n8n sets for the root, here at the end of a session, is set for /n8n/: the chat beside it never gets it."""
    cookies = visitor("POST", "/n8n/rest/logout").headers.get_list("set-cookie")
    assert [cookie.split("=")[0] for cookie in cookies] == ["n8n-auth"]
    assert "Path=/n8n/;" in cookies[0]
