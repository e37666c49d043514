"""What ToolJet shows: one's own rows, the client's for an administrator, and a workflow that starts in n8n only."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from uuid import UUID, uuid4

import pytest

from otobotctl.vault_api import contract_admin as admin
from otobotctl.vault_api import contract_people as people
from otobotctl.vault_api.configuration import Hidden
from otobotctl.vault_api.n8n import N8n

KEY = "sk-SECRET-of-a-service"
HOOK_SECRET = "SECRET-of-the-webhooks"
SOURCE = {"source_type": "RSS_FEED", "source_value": "https://blog.example/feed.xml", "source_name": "Blog"}


@pytest.fixture(scope="module", autouse=True)
def _known(house):
    """The secrets of this module are searched for in the log too."""
    from .conftest import SEEN

    SEEN.update({KEY, HOOK_SECRET})
    house.no_admin_factor()


@pytest.fixture
def n8n(house):
    """An n8n that takes webhooks and remembers them; `answer` is its next status."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["content-length"]))
            server.taken.append((self.path, json.loads(content)))
            server.secrets.append(self.headers["x-otobot-webhook-secret"])
            self.send_response(server.answer)
            self.send_header("location", f"http://127.0.0.1:{server.server_port}/elsewhere")
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_arguments):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.taken, server.secrets, server.answer = [], [], 200
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    kept = house.vault.n8n
    house.vault.n8n = N8n(f"http://127.0.0.1:{server.server_port}", Hidden(HOOK_SECRET))
    yield server
    house.run(house.vault.n8n.close())
    house.vault.n8n = kept
    server.shutdown()
    server.server_close()


@pytest.fixture
def workflow(house):
    """A workflow of the client; its id."""
    body = {"name": f"Veille {uuid4()}", "description": "Every morning", "webhookPath": "veille/start"}
    made = house.operate("POST", admin.ADMIN_WORKFLOWS_PATH, body)
    assert made.status == 201, made.body
    return made.body["id"]


def test_a_service_is_connected_listed_and_disconnected(house):
    """Connected by API key, listed without it, disconnected, gone; each step is audited."""
    user, email = house.person()
    token = house.login(email).body["token"]
    made = house.ask("POST", people.OWN_CONNECTIONS_PATH, {"service": "openai", "apiKey": KEY}, bearer=token)
    assert made.status == 201, made.body
    listed = house.ask("GET", people.OWN_CONNECTIONS_PATH, bearer=token).body["connections"]
    assert [(one["id"], one["service_name"], one["status"]) for one in listed] == [(made.body["id"], "openai", "valid")]
    assert KEY not in str(listed)
    board = house.ask("GET", people.DASHBOARD_PATH, bearer=token).body
    assert (board["connections"], board["broken"]) == (1, 0)
    read = house.ask("GET", f"/api/internal/user/{user}/credentials/openai", headers=internal(house))
    assert read.body["credentials"] == {"apiKey": KEY}
    gone = f"{people.OWN_CONNECTIONS_PATH}/{made.body['id']}"
    assert house.ask("DELETE", gone, bearer=token).status == 204
    assert house.ask("DELETE", gone, bearer=token).status == 404
    assert house.ask("GET", people.OWN_CONNECTIONS_PATH, bearer=token).body["connections"] == []
    deeds = [action for action, _ in house.audit(user)]
    assert [deed for deed in deeds if deed in {"store", "read", "disconnect"}] == ["store", "read", "disconnect"]


def test_a_service_is_connected_once_and_must_exist(house):
    """A second connection of a service is 409, an unknown service 404, an empty key 400."""
    token = house.bearer()

    def connect(service, key=KEY):
        body = {"service": service, "apiKey": key}
        return house.ask("POST", people.OWN_CONNECTIONS_PATH, body, bearer=token).status

    assert [connect("openai"), connect("openai"), connect("no-such"), connect("notion", "")] == [201, 409, 404, 400]


def test_somebody_elses_rows_are_not_there(house):
    """Another user's connection and source cannot be seen or removed: 404, never 403, and they stay."""
    mine, theirs = house.bearer(), house.bearer()
    connection = house.ask("POST", people.OWN_CONNECTIONS_PATH, {"service": "openai", "apiKey": KEY}, bearer=theirs)
    source = house.ask("POST", people.SOURCES_PATH, SOURCE, bearer=theirs)
    for path in (
        f"{people.OWN_CONNECTIONS_PATH}/{connection.body['id']}",
        f"{people.SOURCES_PATH}/{source.body['id']}",
    ):
        unknown = house.ask("DELETE", path[:-36] + str(uuid4()), bearer=mine)
        refused = house.ask("DELETE", path, bearer=mine)
        assert (refused.status, refused.body) == (unknown.status, unknown.body)
        assert refused.status == 404
    assert house.ask("GET", people.OWN_CONNECTIONS_PATH, bearer=mine).body["connections"] == []
    assert house.ask("GET", people.SOURCES_PATH, bearer=mine).body["curation_sources"] == []
    assert len(house.ask("GET", people.OWN_CONNECTIONS_PATH, bearer=theirs).body["connections"]) == 1
    assert len(house.ask("GET", people.SOURCES_PATH, bearer=theirs).body["curation_sources"]) == 1


def test_an_administrator_sees_the_clients_rows(house):
    """Every user's connections and sources, with whose they are; and he may end them."""
    user, email = house.person()
    token = house.login(email).body["token"]
    made = house.ask("POST", people.OWN_CONNECTIONS_PATH, {"service": "openai", "apiKey": KEY}, bearer=token).body
    source = house.ask("POST", people.SOURCES_PATH, SOURCE, bearer=token).body
    boss = house.bearer("admin")
    connections = house.ask("GET", people.OWN_CONNECTIONS_PATH, bearer=boss).body["connections"]
    assert (made["id"], user) in {(one["id"], one["user_id"]) for one in connections}
    sources = house.ask("GET", people.SOURCES_PATH, bearer=boss).body["curation_sources"]
    assert (source["id"], user) in {(one["id"], one["user_id"]) for one in sources}
    assert house.ask("DELETE", f"{people.OWN_CONNECTIONS_PATH}/{made['id']}", bearer=boss).status == 204
    assert house.ask("DELETE", f"{people.SOURCES_PATH}/{source['id']}", bearer=boss).status == 204
    assert house.ask("GET", people.OWN_CONNECTIONS_PATH, bearer=token).body["connections"] == []


def test_curation_sources_have_the_documents_names(house):
    """snake_case in and out; a type that is none of the four is refused."""
    token = house.bearer()
    made = house.ask("POST", people.SOURCES_PATH, {**SOURCE, "metadata": {"lang": "fr"}}, bearer=token)
    assert made.status == 201, made.body
    (one,) = house.ask("GET", people.SOURCES_PATH, bearer=token).body["curation_sources"]
    assert {name: one[name] for name in SOURCE} == SOURCE
    assert one["metadata"] == {"lang": "fr"}
    wrong = house.ask("POST", people.SOURCES_PATH, {**SOURCE, "source_type": "PODCAST"}, bearer=token)
    assert wrong.status == 400
    assert "PODCAST" not in str(wrong.body)


def test_a_workflow_starts_in_n8n_with_who_and_what(house, n8n, workflow):
    """n8n gets user, client and parameters at the workflow's own path; the answer says that it took it."""
    user, email = house.person()
    token = house.login(email).body["token"]
    listed = house.ask("GET", people.WORKFLOWS_PATH, bearer=token).body["workflows"]
    assert workflow in {one["id"] for one in listed}
    assert "webhookPath" not in listed[0]
    path = f"{people.WORKFLOWS_PATH}/{workflow}/trigger"
    got = house.ask("POST", path, {"parameters": {"topic": "IA"}}, bearer=token)
    assert (got.status, got.body) == (200, {"workflowId": workflow, "status": 200})
    ((asked, content),) = n8n.taken
    assert n8n.secrets == [HOOK_SECRET]
    assert asked == "/webhook/veille/start"
    assert UUID(content.pop("clientId"))
    assert content == {"userId": user, "parameters": {"topic": "IA"}}
    assert [deed for deed in house.audit(user) if deed[0] == "workflow"] == [
        ("workflow", "triggering"),
        ("workflow", "triggered"),
    ]


@pytest.mark.parametrize(("answer", "status"), [(404, 502), (500, 502), (302, 502)])
def test_what_n8n_refuses_is_told(house, n8n, workflow, answer, status):
    """Its errors become 502; a redirect is not followed."""
    n8n.answer = answer
    got = house.ask("POST", f"{people.WORKFLOWS_PATH}/{workflow}/trigger", {}, bearer=house.bearer())
    assert (got.status, got.body["code"]) == (status, "workflow_refused")
    assert [path for path, _ in n8n.taken] == ["/webhook/veille/start"]


def test_without_n8n_nothing_is_started(house, workflow):
    """Not configured, and not reachable: 503, and it says so."""
    token, path = house.bearer(), f"{people.WORKFLOWS_PATH}/{workflow}/trigger"
    assert house.ask("POST", path, {}, bearer=token).body["code"] == "workflows_unavailable"
    kept = house.vault.n8n
    house.vault.n8n = N8n("http://127.0.0.1:9")
    try:
        assert house.ask("POST", path, {}, bearer=token).status == 503
    finally:
        house.run(house.vault.n8n.close())
        house.vault.n8n = kept


@pytest.mark.parametrize(
    "path", ["http://evil.example/x", "//evil.example", "../admin", "a/../../x", "a?b=c", "a#b", "a b", "%2e%2e/x", ""]
)
def test_a_webhook_path_is_a_path(house, path):
    """No workflow can point anywhere but below n8n's webhooks."""
    got = house.operate("POST", admin.ADMIN_WORKFLOWS_PATH, {"name": "x", "webhookPath": path})
    assert got.status == 400


def test_an_unknown_workflow_is_not_there(house, n8n):
    """404, and n8n is not asked."""
    got = house.ask("POST", f"{people.WORKFLOWS_PATH}/{uuid4()}/trigger", {}, bearer=house.bearer())
    assert got.status == 404
    assert n8n.taken == []


def test_strangers_get_nothing(house):
    """Without a token, with the internal token, and with garbage: 401 on every route of people."""
    from otobotctl.vault_api.actor import Access
    from otobotctl.vault_api.routes import ENDPOINTS

    private = [one for one in ENDPOINTS if one.access in {Access.USER, Access.ADMIN}]
    assert len(private) > 40
    for endpoint in private:
        path = endpoint.path.replace("{service}", "openai")
        for name in ("connection", "source", "workflow", "session", "user", "app", "key"):
            path = path.replace(f"{{{name}}}", str(uuid4()))
        for headers in ({}, internal(house), {"authorization": "Bearer x.y.z"}, {"authorization": "Basic eDp5"}):
            got = house.ask(endpoint.method, path, {}, headers=headers)
            assert (got.status, got.body["code"]) == (401, "unauthorized"), endpoint.name


def internal(house):
    return {"x-internal-token": house.environment["N8N_INTERNAL_TOKEN"]}
