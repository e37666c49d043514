"""`names: paths`: every service below the client's own domain, for both proxies, or a refusal that says which cannot."""

import http.server
import json
import threading
from contextlib import contextmanager
from http import HTTPStatus

import httpx
import pytest
from msgspec.structs import replace

from otobotctl.errors import ManifestError
from otobotctl.render.catalog import Catalog, check
from otobotctl.render.client import render_client
from otobotctl.render.names import place_of
from otobotctl.render.service import Below
from otobotctl.render.sites import names_of
from tests.render import test_caddy, test_nginx
from tests.render.sample import EVERYTHING, catalog, front, rendered, resolved, secrets_of, text
from tests.render.test_caddy import caddy  # noqa: F401 - a fixture
from tests.render.test_nginx import folder, nginx  # noqa: F401 - fixtures
from tests.render.test_services import environment

NAMES = ("acme.example", "n8n.acme.example", "app.acme.example", "chat.acme.example")


def fleet_with(proxy="nginx", names="paths", settings=None, **said):
    """The sample with every service of both clients, the first one's at paths."""
    return resolved(
        lambda document: (
            document.update(defaults={"services": [*EVERYTHING, proxy], "settings": settings or {}}),
            document["clients"]["acme"].update(tls="self-signed", **({"names": names} if names else {}), **said),
        )
    )


@pytest.mark.parametrize("layer", ["client", "environments", "defaults"])
def test_names_are_resolved_like_the_rest(layer):
    """A client's word, its environment's, the defaults'; without any there are subdomains."""

    def change(document):
        if layer == "client":
            document["clients"]["acme"]["names"] = "paths"
        else:
            document[layer] = {"prod": {"names": "paths"}} if layer == "environments" else {"names": "paths"}

    assert resolved().client("acme").names == "subdomains"
    assert resolved(change).client("acme").names == "paths"


def test_a_certificate_needs_the_names_that_are_served():
    """With paths there is one name to certify, with subdomains there are four; the other client keeps its own."""
    fleet = resolved(
        lambda document: (
            document.update(defaults={"services": [*EVERYTHING, "nginx"], "tls": "acme"}),
            document["clients"]["acme"].update(names="paths"),
            document["clients"]["beta"].update(tls="acme"),
        )
    )
    host = fleet.host("vps-1")
    assert names_of(fleet.client("acme"), host, catalog()) == ("acme.example",)
    assert len(names_of(fleet.client("beta"), host, catalog())) == 4
    asked = {
        line.split()[0]: line.split()[-1] for line in text(front(fleet), "acme/certificates.txt").splitlines() if line
    }
    assert asked["acme.example"] == "acme.example"
    assert asked["beta.example"].split(",")[1:] == [f"{name}.beta.example" for name in ("n8n", "app", "chat")]


def test_services_know_where_they_are():
    """Each is told its public address in its own words, in both ways of naming."""
    release = rendered(fleet_with())
    n8n, tooljet, chat = (environment(release, name) for name in ("n8n", "tooljet", "librechat"))
    assert (n8n["N8N_HOST"], n8n["N8N_PATH"]) == ("acme.example", "/n8n/")
    assert n8n["WEBHOOK_URL"] == n8n["N8N_EDITOR_BASE_URL"] == "https://acme.example/n8n/"
    assert (tooljet["TOOLJET_HOST"], tooljet["SUB_PATH"]) == ("https://acme.example", "/app/")
    assert chat["DOMAIN_CLIENT"] == chat["DOMAIN_SERVER"] == "https://acme.example/chat"
    release = rendered(fleet_with(names=None))
    n8n, tooljet, chat = (environment(release, name) for name in ("n8n", "tooljet", "librechat"))
    assert (n8n["N8N_HOST"], n8n["N8N_PATH"]) == ("n8n.acme.example", "/")
    assert n8n["WEBHOOK_URL"] == n8n["N8N_EDITOR_BASE_URL"] == "https://n8n.acme.example/"
    assert tooljet["TOOLJET_HOST"] == "https://app.acme.example"
    assert "SUB_PATH" not in tooljet
    assert chat["DOMAIN_CLIENT"] == "https://chat.acme.example"


def test_places():
    """What has no name of its own is at the domain, however the others are named."""
    client = fleet_with().client("acme")
    assert place_of(client, catalog().service("vault-api")).url == "https://acme.example"
    assert place_of(client, catalog().service("n8n")).url == "https://acme.example/n8n"


def test_a_service_that_cannot_live_below_a_path_is_refused():
    """The reason is the service's own data; nothing is rendered, neither for the client nor for the proxy."""
    fleet, known = fleet_with(), catalog()
    stays = replace(known.service("tooljet"), below=Below(refused="its pages ask for the root"))
    without = Catalog({**known.services, "tooljet": stays}, known.stacks, known.sources, known.images)
    client = fleet.client("acme")
    with pytest.raises(ManifestError) as error:
        render_client(client, fleet.host("vps-1"), 0, secrets_of(client), without)
    assert (
        error.value.message == "clients.acme.names: tooljet cannot be served below a path: its pages ask for the root"
    )
    assert "subdomains" in error.value.hint
    with pytest.raises(ManifestError, match="tooljet cannot be served"):
        names_of(client, fleet.host("vps-1"), without)


def test_a_version_that_cannot_live_below_a_path_is_refused():
    """An older image is told apart by its tag, and the first one that can is named."""
    fleet = fleet_with(settings={"librechat": {"version": "v0.7.9"}})
    with pytest.raises(ManifestError, match=r"librechat v0\.7\.9 cannot be served below a path; 0\.8\.2 is the first"):
        rendered(fleet)
    assert rendered(fleet, "beta")


def test_two_services_cannot_have_one_path():
    """The catalogue refuses it before any client does."""
    known = catalog()
    twin = replace(known.service("tooljet"), below=Below(path="/n8n"))
    with pytest.raises(ManifestError) as error:
        check(Catalog({**known.services, "tooljet": twin}, known.stacks, known.sources))
    assert "tooljet: path /n8n belongs to n8n already" in error.value.details


class Upstream(http.server.BaseHTTPRequestHandler):
    """Says what it was asked, sets cookies, and opens a websocket where one is asked for."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        """Answer with the path, in a page that sets two cookies."""
        if self.headers.get("Upgrade") == "websocket":
            self.send_response(HTTPStatus.SWITCHING_PROTOCOLS)
            self.send_header("Upgrade", "websocket")
            self.send_header("Connection", "Upgrade")
            self.send_header("X-Path", self.path)
            self.end_headers()
            self.wfile.write(self.rfile.read(4))
            self.close_connection = True
            return
        said = json.dumps({"path": self.path, **{key.lower(): value for key, value in self.headers.items()}}).encode()
        self.send_response(HTTPStatus.OK)
        self.send_header("X-Frame-Options", "DENY")
        self.send_header("Set-Cookie", "root=1; Path=/; HttpOnly")
        self.send_header("Set-Cookie", "own=1; Path=/app/; HttpOnly")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    def do_POST(self):
        """Take the whole body, then answer."""
        left = int(self.headers["Content-Length"])
        while left and (part := self.rfile.read(min(left, 65536))):
            left -= len(part)
        self.close_connection = True
        if not left:
            self.do_GET()

    def log_message(self, *_words):
        """Stay silent."""


@pytest.fixture
def upstream():
    """A service on 127.0.0.1; gives its port."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    thread.join(60)
    server.server_close()


@contextmanager
def proxied(request, proxy, folder, upstream):  # noqa: F811
    """The port of HTTPS of this proxy, with every service of the first client at `upstream`."""
    program = request.getfixturevalue(proxy)
    if proxy == "nginx":
        containers = {"n8n": 5678, "tooljet": 8082, "librechat": 3080, "vault-api": 3001}
        places = {f"set $upstream {name}.acme": "set $upstream 127.0.0.1" for name in containers}
        places |= {f"$upstream:{port}": f"$upstream:{upstream}" for port in containers.values()}
        fleet = fleet_with(settings={"nginx": {"version": program[1], "ipv6": False}})
        with test_nginx.served(program[0], folder, fleet, places) as (_, tls):
            yield tls
    else:
        places = {
            f"reverse_proxy {name}:{port}": f"reverse_proxy 127.0.0.1:{upstream}"
            for name, port in (
                ("n8n.acme", 5678),
                ("tooljet.acme", 8082),
                ("librechat.acme", 3080),
                ("vault-api.acme", 3001),
            )
        }
        with test_caddy.served(program, folder, fleet_with("caddy"), places) as (_, tls):
            yield tls


@pytest.fixture(params=["nginx", "caddy"])
def asked(request, folder, upstream):  # noqa: F811
    """Ask a real proxy for a path of acme.example; gives httpx's answer."""
    with (
        proxied(request, request.param, folder, upstream) as tls,
        httpx.Client(
            verify=False,
            trust_env=False,
            timeout=60,
        ) as client,
    ):

        def ask(path):
            return client.get(
                f"https://127.0.0.1:{tls}{path}",
                headers={"Host": "acme.example"},
                extensions={"sni_hostname": "acme.example"},
            )

        ask.port = tls
        yield ask


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/n8n/", "/"),
        ("/n8n/rest/login", "/rest/login"),
        ("/n8n/webhook/a%20b?x=%2F&y=1", "/webhook/a%20b?x=%2F&y=1"),
        ("/chat/api/auth/login?a=b", "/api/auth/login?a=b"),
        ("/app/", "/app/"),
        ("/app/api/authenticate", "/app/api/authenticate"),
        ("/health", "/health"),
    ],
)
def test_each_service_is_asked_in_its_own_words(asked, path, seen):
    """Without the path where it does not know of it, with the path where it does; queries as they were."""
    answer = asked(path)
    assert answer.status_code == 200
    assert answer.json()["path"] == seen
    assert answer.json()["host"] == "acme.example"
    assert answer.json()["x-forwarded-proto"] == "https"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_cookie_goes_back_to_its_own_service_alone(asked):
    """A cookie of the root belongs to the service's path, so that one service's session is not sent to another."""
    assert asked("/n8n/rest/settings").headers.get_list("set-cookie") == [
        "root=1; Path=/n8n/; HttpOnly",
        "own=1; Path=/app/; HttpOnly",
    ]
    assert asked("/app/").headers.get_list("set-cookie")[0] == "root=1; Path=/app/; HttpOnly"
    assert asked("/health").headers.get_list("set-cookie")[0] == "root=1; Path=/; HttpOnly"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_is_denied_stays_denied_below_a_path(asked):
    """Metrics are 404 however they are written; a path without its slash is sent to the one with it; / is the page."""
    for path in (
        "/n8n/metrics",
        "/n8n/METRICS/",
        "/N8N/metrics",
        "/n8n//metrics",
        "/n8n/metric%73/x",
        "/n8n/./metrics",
    ):
        answer = asked(path)
        assert answer.status_code == 404 or "This server is up" in answer.text, path
    answer = asked("/n8n?a=1")
    assert answer.status_code == 301
    assert answer.headers["location"].startswith(("/n8n/", "https://acme.example/n8n/"))
    assert "This server is up" in asked("/").text


@pytest.mark.parametrize(("path", "seen"), [("/n8n/rest/push?x=1", "/rest/push?x=1"), ("/app/ws", "/app/ws")])
def test_websockets_pass_below_a_path(asked, path, seen):
    """The upgrade reaches the service, at the path that it knows, and bytes go both ways."""
    import socket
    import ssl

    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", asked.port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname="acme.example") as line,
    ):
        line.sendall(
            f"GET {path} HTTP/1.1\r\nHost: acme.example\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n".encode()
        )
        head = b""
        while b"\r\n\r\n" not in head:
            more = line.recv(4096)
            assert more, head
            head += more
        assert head.startswith(b"HTTP/1.1 101")
        assert f"x-path: {seen}\r\n".encode() in head.lower()
        line.sendall(b"ping")
        assert line.recv(4) == b"ping"
