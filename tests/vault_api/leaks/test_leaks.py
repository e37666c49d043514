"""No secret in any log line, metric, error, audit entry, statement or dump of a whole run; a planted one is found in each."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from otobotctl.vault_api import contract
from otobotctl.vault_api import contract_people as people
from scripts.story import vault
from tests.vault_api.leaks import story, world
from tests.vault_api.leaks.caller import Caller
from tests.vault_api.leaks.search import forms, leaks
from tests.waiting import until

pytestmark = pytest.mark.timeout(1800)  # on a machine that has other work

# Where a secret is looked for, besides the answers.
PLACES = {
    "log of vault",
    "log of refresher",
    "log of call",
    "log of commands",
    "log of PostgreSQL",
    "pg_dump",
    "contents of Redis",
    "log of redis",
    "command lines",
    "metrics",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The whole run; everything that it left is `places`, and each answer in `callers`."""
    with world.standing(tmp_path_factory.mktemp("leaks")) as here:
        here.callers = []
        here.control = {"id": str(uuid4()), "word": f"control{uuid4().hex}"}
        _served(here)
        _rotated(here)
        _refused_starts(here)
        for number, value in enumerate(sorted(here.stub.secrets)):
            here.book.know(f"a provider's secret {number}", value)
        _planted(here)
        here.places_left = dict(here.places())
        yield here


def _served(here):
    """Every endpoint used and refused, then the database fails under it, then it is called from inside."""
    assert here.run("commands", "migrate").returncode == 0
    with vault.serving(here.environment, here.log("vault")) as running:
        caller = Caller(running.url, here.book, here.environment)
        here.callers.append(caller)
        told = story.Story(caller, here.stub)
        told.whole()
        here.document = caller.ask("GET", contract.OPENAPI_PATH).json
        operations = [
            (method.upper(), path, "requestBody" in operation)
            for path, found in here.document["paths"].items()
            for method, operation in found.items()
        ]
        _, bearer, _ = told.person()
        story.refused(caller, operations, {**caller.internal, **caller.node, **caller.operator, **bearer})
        _broken(here, caller, told)
        _raw(here, running.url)
        with here.refresher():
            _sweeps(here, told)
        requests = [{"method": "GET", "path": contract.credentials_path(told.stored[0], "google"), "body": None}]
        port = str(urlsplit(running.url).port)
        assert (
            here.run("call", "call", "--port", port, "--operator", "test", stdin=json.dumps(requests)).returncode == 0
        )
        here.run("call", "call", "--port", "1", stdin=json.dumps(requests))
        assert here.run("commands", "health", "--port", port).returncode == 0
        caller.ask("GET", contract.READY_PATH, headers={"x-request-id": here.control["id"]})
        here.texts["metrics"] = caller.ask("GET", contract.METRICS_PATH, status=200).body


def _broken(here, caller, told):
    """Rows that do not open, statements that fail with the row in their message, and no database at all."""
    user, path, connection = told.stored
    email, password = f"{uuid4().hex}@acme.example", here.book.mint("a password while the database is away")
    key = {"apiKey": here.book.mint("a key that the database refuses")}
    with here.database() as database:
        database.execute(
            "ALTER TABLE client_connections ADD CONSTRAINT planted CHECK (service_code <> 'notion') NOT VALID"
        )
        assert caller.ask("PUT", contract.credentials_path(user, "notion"), key, caller.internal).status >= 500
        database.execute(
            "UPDATE client_connections SET encrypted_api_key = encrypted_access_token WHERE id = %s", (connection,)
        )
        caller.ask("GET", path, None, caller.node, status=500)
        database.execute("REVOKE INSERT ON credential_access_logs FROM vault_runtime")
        assert caller.ask("PUT", path, key, caller.internal).status >= 500
        assert caller.ask("POST", people.LOGIN_PATH, {"email": email, "password": password}).status >= 500
        database.execute("GRANT INSERT ON credential_access_logs TO vault_runtime")
    with here.database() as database, _away(here):
        del database
        for where in (contract.HEALTH_PATH, contract.READY_PATH):
            caller.ask("GET", where, status=503)
        caller.ask("GET", contract.METRICS_PATH, status=200)
        assert caller.ask("PUT", path, key, caller.internal).status == 503
        assert caller.ask("GET", path, None, caller.node).status == 503
        assert caller.ask("POST", people.LOGIN_PATH, {"email": email, "password": password}).status == 503
    until(lambda: caller.ask("GET", contract.READY_PATH).status == 200)
    assert caller.ask("PUT", path, key, caller.internal).status == 200


@contextlib.contextmanager
def _away(here):
    import psycopg

    with psycopg.connect(here.server.address(), autocommit=True) as admin:
        admin.execute("ALTER DATABASE leaks ALLOW_CONNECTIONS false")
        admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'leaks'")
        yield
        admin.execute("ALTER DATABASE leaks ALLOW_CONNECTIONS true")


def _raw(here, url):
    """What is no HTTP, or too much of it."""
    parts = urlsplit(url)
    for name, text in (
        ("no request line", "{}\r\n\r\n"),
        ("no header", "GET /health HTTP/1.1\r\n{}\r\n\r\n"),
        ("a large head", "GET /health HTTP/1.1\r\nhost: x\r\nauthorization: {}" + "x" * 40_000 + "\r\n\r\n"),
        ("a bad chunk", "POST /api/tooljet/auth/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n{}\r\n"),
        ("a bad length", "POST /api/tooljet/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n"),
        (
            "half a body",
            'POST /api/tooljet/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 500\r\n\r\n{{"password": "{}',
        ),
    ):
        with socket.create_connection((parts.hostname, parts.port), timeout=60) as line:
            line.sendall(text.format(here.book.word(name)).encode())
            line.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                here.texts[f"answer to {name}"] = b"".join(iter(lambda: line.recv(65536), b""))


def _sweeps(here, told):
    """The refresher meets a provider that repeats what it is shown, and a webhook that fails."""
    user, bearer, _ = told.person()
    connection = told.connect(user, bearer)
    here.stub.alert_statuses += [500, 500]
    here.stub.faults += [("before", (500,)), ("before", "garbage")]
    for expires in ("now() - interval '1 hour'", "now() - interval '30 days'"):
        with here.database() as database:
            database.execute(
                f"UPDATE client_connections SET token_expires_at = {expires}, refresh_after = NULL WHERE id = %s",
                (connection,),
            )
        path = f"{story.contract_oauth.REFRESH_PATH}?connectionId={connection}"
        told.caller.ask("POST", path, None, told.internal)
    until(lambda: b'"sweep"' in here.log("refresher").read_bytes())


def _rotated(here):
    """A new master key: everything is sealed anew, and the audit is verified."""
    before = here.environment
    fresh = here.book.know("the next ENCRYPTION_MASTER_KEY", f"{uuid4().hex}{uuid4().hex}")
    here.environment = {
        **before,
        "ENCRYPTION_MASTER_KEY": fresh,
        "ENCRYPTION_MASTER_KEY_PREVIOUS": before["ENCRYPTION_MASTER_KEY"],
    }
    assert here.run("commands", "migrate").returncode == 0
    assert here.run("commands", "rewrap", "--look").returncode == 0
    done = here.run("commands", "rewrap", "--progress")
    assert done.returncode in {0, 1}, done.stderr  # 1: the row that was broken above stays on its key
    assert here.run("commands", "audit", "verify").returncode == 0
    with vault.serving(here.environment, here.log("vault")) as running:
        caller = Caller(running.url, here.book, here.environment)
        here.callers.append(caller)
        caller.ask("GET", contract.READY_PATH, status=200)


def _refused_starts(here):
    """Configurations that are wrong, each with a secret in the wrong place, and logins that fail."""
    wrong = {
        "ENCRYPTION_MASTER_KEY": here.book.word("a master key of another form"),
        "N8N_INTERNAL_TOKEN": here.book.word("a token that is too short")[:31],
        "VAULT_PUBLIC_URL": here.book.word("a password in the address's place"),
        "VAULT_DATABASE_PORT": here.book.word("a password in the port's place"),
        "VAULT_REDIS_URL": f"nonsense://:{here.book.word('a Redis password')}@x",
        "VAULT_RUNTIME_PASSWORD": here.book.word("a password that is not the runtime's"),
        "VAULT_OWNER_PASSWORD": here.book.word("a password that is not the owner's"),
        "VAULT_PROVIDERS_FILE": f"/nowhere/{here.book.word('a path')}",
    }
    here.book.secrets["a token that is too short"] = wrong["N8N_INTERNAL_TOKEN"]
    for name, value in wrong.items():
        command = "migrate" if name.startswith("VAULT_OWNER") else "rewrap"
        arguments = (command,) if name != "VAULT_REDIS_URL" else ("serve", "--port", "1")
        done = here.run("commands", *arguments, **{name: value, "VAULT_TEST_WAIT_S": "3"})
        assert done.returncode != 0, name
        assert "Traceback" not in done.stderr, done.stderr
    another = {
        "ENCRYPTION_MASTER_KEY": here.book.know("another master key", "cd" * 32),
        "ENCRYPTION_MASTER_KEY_PREVIOUS": "",
    }
    assert here.run("commands", "serve", "--port", "1", **another).returncode == 1


def _planted(here):
    """A control, so that the search is known to see each place: what it finds nothing in, it has looked into."""
    word = here.control["word"]
    with here.database() as database:
        database.execute("SELECT %s::text", (word,))
        database.execute("UPDATE users SET name = %s WHERE erased_at IS NULL", (word,))
    subprocess.run([sys.executable, "-c", "import time; time.sleep(0.5)", word], check=True)
    with here.redis.client() as redis:
        redis.set("planted", word)
    for name in ("vault", "refresher", "call", "commands", "redis"):
        with here.log(name).open("a") as stream:
            stream.write(f"{json.dumps({'event': word})}\n")
    here.texts["metrics"] += f'planted{{word="{word}"}} 1\n'.encode()


def test_the_search_sees_every_place(run):
    """The planted word is found where it was put, which is everywhere; PostgreSQL's log has parameters, the vault's its requests."""
    found = {leak.partition(":")[0] for leak in leaks(run.places_left, {"control": run.control["word"]})}
    assert found == PLACES
    assert b"parameters: $1 = '" + run.control["word"].encode() in run.places_left["log of PostgreSQL"]
    assert b"INSERT INTO credential_access_logs" in run.places_left["log of PostgreSQL"]
    assert run.control["id"].encode() in run.places_left["log of vault"]
    assert b'"level": "debug"' in run.places_left["log of vault"]
    assert b'"request_failed"' in run.places_left["log of vault"]
    assert b"otobotctl.vault_api\x00serve" in run.places_left["command lines"]


@pytest.mark.parametrize("form", sorted(forms("zé'+/=%\"1234567")))
def test_the_search_knows_every_form(form):
    """A secret is found however it is written."""
    secret = "zé'+/=%\"1234567"
    assert leaks({"place": b"before " + forms(secret)[form] + b" after"}, {"secret": secret})
    assert not leaks({"place": b"before after"}, {"secret": secret})


def test_every_endpoint_was_used_and_refused(run):
    """Of the OpenAPI document no operation is left out, neither its success nor its refusal."""
    assert run.callers[0].missed(run.document) == []
    left_out = {"paths": {**run.document["paths"], "/api/new": {"post": {}}}}
    assert run.callers[0].missed(left_out) == ["POST /api/new: no success", "POST /api/new: no refusal"]


def test_no_secret_is_left_behind(run):
    """Logs of every process at its most verbose, PostgreSQL's statements, the dump, metrics and command lines: no hit."""
    assert len(run.book.secrets) > 250
    assert leaks(run.places_left, run.book.secrets) == []
    without_statements = {place: content for place, content in run.places_left.items() if place != "log of PostgreSQL"}
    assert leaks(without_statements, run.book.typed) == []


def test_no_answer_shows_what_it_is_not_for(run):
    """Errors show no secret at all; the others only the ones that they were asked for."""
    shown = []
    for caller in run.callers:
        for one in caller.exchanges:
            content = json.dumps(dict(one.head)).encode() + one.body
            hidden = {
                name: value for name, value in run.book.secrets.items() if not any(value in may for may in one.may_show)
            }
            shown += leaks({f"{one.status} of {one.method} {one.path}": content}, hidden)
    assert shown == []
    assert sum(one.status >= 400 for caller in run.callers for one in caller.exchanges) > 300
