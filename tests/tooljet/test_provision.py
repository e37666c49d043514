"""ToolJet's preparation against a stand-in that answers as its source says, and against ones that do not."""

from __future__ import annotations

import hashlib
import http.server
import json
import os
import secrets
import subprocess
import threading
from types import SimpleNamespace

import psycopg
import pytest

from scripts.story import embedded
from tests.lab.fixtures import unavailable
from tests.n8n import install
from tests.n8n.package import SOURCES

PROGRAM = SOURCES.parent / "tooljet/provision.js"
TABLES = """
CREATE TABLE users (id serial, email text, password text);
CREATE TABLE data_sources (id serial, name text, kind text, scope text, options json);
"""
ADMIN = {
    "kind": "admin", "id": "admin", "name": "administrator's account", "email": "it@acme.example",
    "fullName": "ACME", "workspace": "ACME", "password": "Abcdefgh0123456789", "version": "v2.33.0",
}  # fmt: skip
SOURCE = {
    "kind": "source", "id": "Otobot Vault", "name": "data source Otobot Vault",
    "url": "http://vault-api:3001", "version": "v2.33.0",
}  # fmt: skip
BOTH = [ADMIN, SOURCE]
READY = {ADMIN["name"]: "ready", SOURCE["name"]: "ready"}


class ToolJet(http.server.BaseHTTPRequestHandler):
    """Its endpoints, as far as they are used; `closed` ones answer 404, as a version without them does."""

    def do_GET(self):
        self.tell(200, {"works": "yeah"})

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        here = self.server.here
        here.asked.append((self.path, body))
        found = {
            "/api/setup-admin": self.set_up,
            "/api/onboarding/setup-first-user": self.set_up,
            "/api/authenticate": self.enter,
            "/api/v2/data_sources": self.source,
        }.get(self.path)
        if found is None or self.path in here.closed:
            return self.tell(404, {"statusCode": 404})
        with psycopg.connect(here.address, autocommit=True) as database:
            return found(database, body)

    def set_up(self, database, body):
        if database.execute("SELECT 1 FROM users").fetchone() or len(body["password"]) < 5 or not body["workspace"]:
            return self.tell(403, {"message": "Forbidden"})
        database.execute("INSERT INTO users (email, password) VALUES (%s, %s)", [body["email"], body["password"]])
        return self.tell(201, {"id": "u"}, cookie="tj_auth_token=first; HttpOnly")

    def enter(self, database, body):
        sql = "SELECT 1 FROM users WHERE email = %s AND password = %s"
        if not database.execute(sql, [body["email"], body["password"]]).fetchone():
            return self.tell(401, {"message": "Unauthorized"})
        answer = {"current_organization_id": "w1"}
        return self.tell(201, answer, cookie="tj_auth_token=letmein; Path=/; HttpOnly")

    def source(self, database, body):
        known = "tj_auth_token=letmein" in self.headers.get("cookie", "") and self.headers["tj-workspace-id"] == "w1"
        if not known:
            return self.tell(401, {"message": "Unauthorized"})
        values = [body["name"], body["kind"], body["scope"], json.dumps(body["options"])]
        database.execute("INSERT INTO data_sources (name, kind, scope, options) VALUES (%s, %s, %s, %s)", values)
        return self.tell(201, {"id": "d"})

    def tell(self, status, body, cookie=""):
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture(scope="module")
def postgres():
    """A PostgreSQL server."""
    with embedded.running() as server:
        yield server


@pytest.fixture
def tooljet(postgres, tmp_path):
    """A stand-in on a fresh database, and what runs the program as its container does."""
    if reason := install.missing():
        unavailable(reason)
    tree = install.install(install.NEWEST)
    name, password = f"tooljet_{secrets.token_hex(3)}", secrets.token_hex(16)
    with psycopg.connect(postgres.address(), autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} LOGIN PASSWORD '{password}'")
        connection.execute(f"CREATE DATABASE {name} OWNER {name}")
    address = f"host={postgres.host} port={postgres.port} dbname={name} user={name} password={password}"
    (tmp_path / "node_modules").symlink_to(tree / "node_modules")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ToolJet)
    here = server.here = SimpleNamespace(address=address, closed=set(), asked=[])
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    environment = {
        "PATH": os.environ["PATH"], "PORT": str(server.server_address[1]), "PG_HOST": postgres.host,
        "PG_PORT": str(postgres.port), "PG_USER": name, "PG_PASS": password, "PG_DB": name,
    }  # fmt: skip

    def run(command, items, **changed):
        stamped = [{**item, "digest": hashlib.sha256(json.dumps(item).encode()).hexdigest()[:32]} for item in items]
        told = [{key: item[key] for key in ("name", "kind", "id", "digest")} for item in stamped]
        arguments, stdin = ([json.dumps(told)], "") if command == "check" else ([], json.dumps(stamped))
        done = subprocess.run(
            [tree / "bin/node", PROGRAM, command, *arguments], cwd=tmp_path, env={**environment, **changed},
            input=stdin, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert ADMIN["password"] not in done.stdout + done.stderr
        return json.loads(done.stdout)["items"] if command == "check" else done.stdout.splitlines()

    here.check, here.apply = (
        lambda items, which=which, **more: run(which, items, **more) for which in ("check", "apply")
    )
    with psycopg.connect(address, autocommit=True) as here.database:
        here.database.execute(TABLES)
        yield here
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_administrator_and_the_data_source_are_made_once(tooljet):
    """With the values of the store; the next look and the next run find nothing to do."""
    assert set(tooljet.check(BOTH).values()) == {"absent"}
    assert tooljet.apply(BOTH) == ["made the administrator's account", "made the data source Otobot Vault"]
    assert tooljet.check(BOTH) == READY
    asked = len(tooljet.asked)
    assert tooljet.apply(BOTH) == []
    assert len(tooljet.asked) == asked
    kind, options = tooljet.database.execute("SELECT kind, options FROM data_sources").fetchone()
    assert kind == "restapi"
    assert {"key": "url", "value": "http://vault-api:3001", "encrypted": False} in options


def test_a_later_version_makes_its_administrator_elsewhere(tooljet):
    """Its endpoint has another name."""
    tooljet.closed = {"/api/setup-admin"}
    assert len(tooljet.apply(BOTH)) == 2
    assert tooljet.check(BOTH) == READY


def test_what_the_api_does_not_take_is_left_to_the_operator_and_tried_again_with_another_version(tooljet):
    """The deploy goes on and tells it; nothing is asked again until something has changed."""
    tooljet.closed = {"/api/v2/data_sources"}
    said = tooljet.apply(BOTH)
    assert said[0] == "made the administrator's account"
    assert "did not take the data source Otobot Vault (404)" in said[1]
    assert tooljet.check(BOTH) == {**READY, SOURCE["name"]: "kept"}
    asked = len(tooljet.asked)
    assert tooljet.apply(BOTH) == []
    assert len(tooljet.asked) == asked
    tooljet.closed = set()
    newer = [ADMIN, {**SOURCE, "version": "v2.34.0"}]
    assert tooljet.check(newer)[SOURCE["name"]] == "absent"
    assert tooljet.apply(newer) == ["made the data source Otobot Vault"]


def test_an_administrator_who_was_there_first_stays(tooljet):
    """His password is not the store's: the source is his to make, and then it is ready."""
    tooljet.database.execute("INSERT INTO users (email, password) VALUES ('lea@acme.example', 'hers')")
    (said,) = tooljet.apply(BOTH)
    assert "no login with the store's password" in said
    tooljet.database.execute(
        "INSERT INTO data_sources (name, kind, scope) VALUES ('Otobot Vault', 'restapi', 'global')"
    )
    assert tooljet.check(BOTH) == READY


def test_a_database_without_its_tables_is_left_alone(tooljet):
    """Another ToolJet than the one that is known: everything is the operator's, and nothing fails."""
    tooljet.database.execute("DROP TABLE users; DROP TABLE data_sources")
    assert set(tooljet.check(BOTH).values()) == {"kept"}
    assert tooljet.apply(BOTH) == []
    assert tooljet.asked == []


def test_below_a_path_it_is_asked_there(tooljet):
    """ToolJet answers its API below SUB_PATH, and its health where it always was."""
    tooljet.apply([ADMIN], SUB_PATH="/app/")
    assert {path for path, _ in tooljet.asked} == {"/app/api/setup-admin", "/app/api/onboarding/setup-first-user"}
