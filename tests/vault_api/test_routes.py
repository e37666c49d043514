"""The vault over HTTP, as n8n sees it, on a real PostgreSQL."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import threading
import time
from urllib.parse import urlsplit
from uuid import uuid4

import pytest

from otobotctl.vault_api import contract, protocol

SECRET = "ya29.a0-SECRET-access-token"
REFRESH = "1//SECRET-refresh-token"


def path(user, service="google"):
    return contract.credentials_path(user, service)


def store(live, user, service="google", **body):
    answer = live.ask(path(user, service), "PUT", body={"accessToken": SECRET, **body})
    assert answer.status in {200, 201}, answer.body
    return answer.body["connectionId"]


def audit(live, user):
    """(action, outcome, connection) of every entry about a user, oldest first."""
    with live.database() as connection:
        rows = connection.execute(
            "SELECT access_type, outcome, client_connection_id FROM credential_access_logs WHERE user_id = %s ORDER BY id",
            (user,),
        ).fetchall()
    return [(action, outcome, str(row) if row else None) for action, outcome, row in rows]


def test_what_is_stored_is_read_back(live, user):
    """A stored token comes back in the shape that workflows use; the refresh token stays inside."""
    row = store(
        live, user, refreshToken=REFRESH, apiKey="sk-1", accountIdentifier="Léa Pro", expiresAt="2199-01-31T12:00:00Z"
    )
    answer = live.ask(path(user))
    assert answer.status == 200
    assert answer.body == {
        "connectionId": row,
        "hasCredentials": True,
        "credentials": {"accessToken": SECRET, "apiKey": "sk-1"},
        "metadata": {
            "accountIdentifier": "Léa Pro",
            "tokenExpired": False,
            "expiresAt": "2199-01-31T12:00:00+00:00",
            "status": "active",
        },
    }
    assert answer.headers["cache-control"] == "no-store"


def test_an_expired_token_says_so(live, user):
    """A token past its time is still given, marked as expired."""
    store(live, user, expiresAt="2020-01-01T00:00:00+01:00")
    assert live.ask(path(user)).body["metadata"]["tokenExpired"] is True


def test_the_database_holds_ciphertext_only(live, user):
    """No column of any table shows a stored value; the text format is version:iv:authTag:ciphertext."""
    row = store(live, user, refreshToken=REFRESH, apiKey="sk-SECRET-key")
    with live.database() as connection:
        tables = [
            name
            for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'vault'").fetchall()
        ]
        everything = "\n".join(
            str(line) for table in tables for line in connection.execute(f"SELECT t::text FROM {table} t").fetchall()
        )
        (sealed,) = connection.execute(
            "SELECT encrypted_access_token FROM client_connections WHERE id = %s", (row,)
        ).fetchone()
    assert row in everything
    assert "SECRET" not in everything
    version, iv, tag, _ = sealed.split(":")
    assert (version, len(iv), len(tag)) == ("1", 24, 32)


def test_put_replaces_and_post_does_not(live, user):
    """PUT twice keeps the row and takes the new value; POST on an existing connection is 409."""
    assert live.ask(path(user), "POST", body={"accessToken": "one"}).status == 201
    first = live.ask(path(user)).body
    again = live.ask(path(user), "PUT", body={"apiKey": "two"})
    assert (again.status, again.body) == (200, {"connectionId": first["connectionId"], "created": False})
    assert live.ask(path(user)).body["credentials"] == {"apiKey": "two"}
    assert live.ask(path(user), "POST", body={"accessToken": "three"}).status == 409
    assert live.ask(path(user)).body["credentials"] == {"apiKey": "two"}


def test_every_read_and_write_is_audited(live, user):
    """Misses, writes and reads each leave exactly one entry."""
    assert live.ask(path(user)).status == 404
    row = store(live, user)
    store(live, user)
    assert live.ask(path(user)).status == 200
    expected = [
        ("user", "created", None),
        ("read", "missing", None),
        ("store", "created", row),
        ("store", "replaced", row),
        ("read", "found", row),
    ]
    assert audit(live, user) == expected


def test_no_audit_no_secret(live, user):
    """When the audit entry cannot be written, the read fails and gives nothing."""
    store(live, user)
    with live.database() as connection:
        connection.execute("REVOKE INSERT ON credential_access_logs FROM vault_runtime")
        try:
            refused = live.ask(path(user))
        finally:
            connection.execute("GRANT INSERT ON credential_access_logs TO vault_runtime")
    assert refused.status >= 500
    assert SECRET not in json.dumps(refused.body)
    assert live.ask(path(user)).status == 200


def test_a_changed_ciphertext_is_refused(live, user):
    """One flipped character: 500 without the value, audited as unreadable."""
    row = store(live, user)
    with live.database() as connection:
        connection.execute(
            "UPDATE client_connections SET encrypted_access_token = left(encrypted_access_token, -1)"
            " || translate(right(encrypted_access_token, 1), '0123456789abcdef', '123456789abcdef0') WHERE id = %s",
            (row,),
        )
    answer = live.ask(path(user))
    assert (answer.status, answer.body["hasCredentials"]) == (500, False)
    assert [entry[1] for entry in audit(live, user)] == ["created", "created", "unreadable"]


@pytest.mark.parametrize("column", ["encrypted_access_token", "encrypted_api_key"])
def test_a_ciphertext_opens_only_in_its_own_row_and_field(live, user, column):
    """A sealed token copied into another user's row, or another field of its own row, does not open."""
    other = str(uuid4())
    assert live.ask(f"/api/internal/user/{other}", "PUT", body={"email": f"{other}@acme.example"}).status == 201
    source = store(live, user)
    target = store(live, other if column == "encrypted_access_token" else user)
    with live.database() as connection:
        connection.execute(
            f"UPDATE client_connections SET {column} = (SELECT encrypted_access_token FROM client_connections WHERE id = %s) WHERE id = %s",
            (source, target),
        )
    answer = live.ask(path(other if column == "encrypted_access_token" else user))
    assert answer.status == 500
    assert SECRET not in json.dumps(answer.body)


@pytest.mark.parametrize("token", ["", "wrong", "x" * 64])
def test_without_the_token_nothing_is_told(live, user, token):
    """401 for every internal path, whether what it names exists or not, and no audit entry about the user."""
    store(live, user)
    before = audit(live, user)
    for where in (path(user), path(str(uuid4())), contract.CONNECTIONS_PATH.format(user=user)):
        answer = live.ask(where, token=token)
        assert (answer.status, answer.body) == (401, {"error": "Unauthorized", "code": "unauthorized"})
    assert audit(live, user) == before


def test_somebody_elses_connection_does_not_exist(live, user):
    """Another user, an unknown user and an unknown service are all the same 404."""
    store(live, user)
    absent = {"error": "Connection not found", "code": "connection_not_found", "hasCredentials": False}
    for where in (path(str(uuid4())), path(user, "notion"), path(user, "no-such-service")):
        answer = live.ask(where)
        assert (answer.status, answer.body) == (404, absent)


def test_a_deactivated_user_has_no_credentials(live, user):
    """is_active = false on the user hides the connection at once."""
    store(live, user)
    with live.database() as connection:
        connection.execute("UPDATE users SET is_active = false WHERE id = %s", (user,))
    assert live.ask(path(user)).status == 404


@pytest.mark.parametrize("body", [
    b"", b"{", b"[]", b'"SECRET"', b"[" * 60000, b"{}", b'{"accessToken": ""}', b'{"accessToken": 7}', b'{"SECRET": "x", "apiKey": "y"}',
    b'{"accessToken": "a\\u0000b"}', b'{"accessToken": "\\ud800"}', b'{"apiKey": "x", "expiresAt": "SECRET"}',
    b'{"apiKey": "x", "expiresAt": "2030-01-01T00:00:00"}', b'{"apiKey": "x", "expiresAt": "9999-12-31T23:59:59-05:00"}', b'{"apiKey": "\xff"}',
])  # fmt: skip
def test_a_bad_body_is_refused_without_quoting_it(live, user, body):
    """400 with findings that name fields; what was sent is not repeated."""
    answer = live.ask(path(user), "PUT", body=body)
    assert answer.status == 400
    assert answer.body["details"]
    assert "SECRET" not in json.dumps(answer.body)


_SOMEBODY = "588c402f-092e-4b21-8288-c48c456b8039"  # the same in every process: the cases are named by it


@pytest.mark.parametrize("where", ["/api/internal/user/7/credentials/google", f"/api/internal/user/{_SOMEBODY}/credentials/Goo%20gle",
                                   f"/api/internal/user/%7B{_SOMEBODY}%7D/credentials/google"])  # fmt: skip
def test_a_malformed_path_is_400(live, where):
    """A user that is not a UUID or a service that is not a code is refused before the database is asked."""
    assert live.ask(where).status == 400
    assert live.ask(where, "PUT", body={"apiKey": "x"}).status == 400


def test_unknown_routes_and_methods_answer_json(live, user):
    """404 and 405 are JSON like the rest, and carry no-store."""
    unknown, wrong = live.ask("/api/internal/other"), live.ask(path(user), "DELETE")
    assert (unknown.status, unknown.body) == (404, {"error": "Path not found", "code": "path_not_found"})
    assert (wrong.status, wrong.body) == (405, {"error": "Method not allowed", "code": "method_not_allowed"})
    assert unknown.headers["cache-control"] == "no-store"


def test_storing_needs_a_user_and_a_service_that_exist(live, user):
    """404 for an unknown user or service; nothing is stored."""
    assert live.ask(path(str(uuid4())), "PUT", body={"apiKey": "x"}).body == {
        "error": "User not found",
        "code": "user_not_found",
    }
    assert live.ask(path(user, "no-such"), "PUT", body={"apiKey": "x"}).body == {
        "error": "Service not found",
        "code": "service_not_found",
    }


def test_an_email_address_belongs_to_one_user(live, user):
    """A second user with the same address, in any case, is 409; the same user may change its own name."""
    body = {"email": f"{uuid4()}@acme.example", "name": "Léa", "role": "admin"}
    assert live.ask(f"/api/internal/user/{user}", "PUT", body=body).status == 200
    taken = live.ask(f"/api/internal/user/{uuid4()}", "PUT", body={"email": body["email"].upper()})
    assert taken.status == 409
    assert live.ask(f"/api/internal/user/{user}", "PUT", body={"email": "none", "role": "king"}).status == 400


def raw(live, head, *chunks):
    """Send bytes as they are and return the status; the server may close before everything is sent."""
    where = urlsplit(live.vault.url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    connection.connect()
    try:
        try:
            for chunk in (head, *chunks):
                connection.sock.sendall(chunk)
        except (BrokenPipeError, ConnectionResetError):
            pass
        answer = http.client.HTTPResponse(connection.sock)
        answer.begin()
        return answer.status
    finally:
        connection.close()


def test_a_body_over_64_kib_is_refused(live, user):
    """413 by the announced length, and by the bytes that come when none was announced."""
    announced = live.ask(path(user), "PUT", body=b"x" * (contract.MAX_BODY_BYTES + 1))
    assert announced.status == 413
    head = f"PUT {path(user)} HTTP/1.1\r\nHost: v\r\n{contract.TOKEN_HEADER}: {live.token}\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"
    assert raw(live, head.encode(), *[chunk] * 8) == 413
    assert live.ask(path(user), "PUT", body={"apiKey": "k" * 60000}).status == 201


def test_a_head_over_16_kib_is_refused(live, user):
    """431 for a head that does not end, before it is all read; a large body after a small head is none of its business."""
    head = f"GET {path(user)} HTTP/1.1\r\nHost: v\r\n".encode()
    assert raw(live, head, *[b"X-Filler: " + b"x" * 4000 + b"\r\n"] * 8) == 431
    assert live.ask(path(user), "PUT", body={"apiKey": "k" * 40000}).status == 201


def test_who_never_ends_a_head_is_hung_up_on(live):
    """A caller that sends a head a byte at a time loses the connection; one that is idle between two requests does not."""
    where = urlsplit(live.vault.url)
    idle = http.client.HTTPConnection(where.hostname, where.port, timeout=60)
    idle.request("GET", "/health")
    assert idle.getresponse().read()
    since = time.monotonic()
    with socket.create_connection((where.hostname, where.port), timeout=60) as slow:
        slow.sendall(b"GET /health HTTP/1.1\r\n")
        begun = time.monotonic()
        assert slow.recv(100) == b""
        assert time.monotonic() - begun > 1
    time.sleep(max(0.0, since + protocol.HEAD_LIMIT_S + 1 - time.monotonic()))
    with contextlib.closing(idle):
        idle.request("GET", "/health")
        assert idle.getresponse().read()


def test_health_needs_no_token_and_names_the_service(live):
    """GET /health is 200 with the service's name and version."""
    answer = live.ask(contract.HEALTH_PATH, token="")
    assert answer.status == 200
    assert answer.body == {
        "status": "ok",
        "service": "otobot-vault-api",
        "version": contract.VERSION,
        "checks": {"database": "ok", "migrations": "ok"},
    }


def test_parallel_first_writes_end_in_one_row(live, user):
    """Eight PUTs of a new connection at once: all succeed, one row is active."""
    statuses = []
    writers = [
        threading.Thread(
            target=lambda n=n: statuses.append(live.ask(path(user), "PUT", body={"apiKey": str(n)}).status)
        )
        for n in range(8)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert set(statuses) <= {200, 201}
    assert statuses.count(201) == 1
    with live.database() as connection:
        (rows,) = connection.execute("SELECT count(*) FROM client_connections WHERE user_id = %s", (user,)).fetchone()
    assert rows == 1


def test_reads_go_on_after_the_database_dropped_every_connection(live, user):
    """Sessions ended behind the pool's back cost no read."""
    store(live, user)
    with live.database() as connection:
        connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'vault_runtime'")
    assert live.ask(path(user)).status == 200


def test_the_log_holds_no_value_and_no_path(live, user):
    """After all of this the log has one JSON object a line, request entries, and not one secret, token, user or query."""
    store(live, user, refreshToken=REFRESH)
    live.ask(path(user) + "?code=SECRET-code")
    live.ask(path(user), "PUT", body=b'{"SECRET')
    text = live.vault.log.read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert any(line["event"] == "request" and line["route"] == "store" and line["status"] == 201 for line in lines)
    for value in (
        "SECRET",
        user,
        live.token,
        live.environment["ENCRYPTION_MASTER_KEY"],
        live.environment["VAULT_RUNTIME_PASSWORD"],
    ):
        assert value not in text


def test_the_document_names_every_endpoint(live):
    """GET /openapi.json is a whole OpenAPI document; every reference in it resolves."""
    answer = live.ask(contract.OPENAPI_PATH, token="")
    assert answer.status == 200
    assert contract.CREDENTIALS_PATH in answer.body["paths"]
    for name in set(re.findall(r"#/components/schemas/(\w+)", json.dumps(answer.body))):
        assert name in answer.body["components"]["schemas"]


def test_metrics_count_without_naming_anybody(live, user):
    """/metrics counts reads, decrypts and tokens by state; no user and no token is in it."""
    store(live, user)
    live.ask(path(user))
    text = live.text(contract.METRICS_PATH)
    assert 'vault_requests_total{method="GET",route="read",status="200"}' in text
    assert 'vault_tokens{state="valid"}' in text
    assert user not in text
    assert SECRET not in text


def test_services_say_where_their_tokens_may_go(live):
    """Each service that is switched on, with its provider's hosts; one that is switched off is not offered."""
    path = "/api/internal/services"
    found = {each["code"]: each for each in live.ask(path).body["services"]}
    assert found["notion"] == {
        "code": "notion", "displayName": "Notion", "oauthType": "oauth2", "apiHosts": ["api.notion.com"],
    }  # fmt: skip
    with live.database() as connection:
        connection.execute("UPDATE services SET is_active = false WHERE code = 'notion'")
        assert "notion" not in {each["code"] for each in live.ask(path).body["services"]}
        connection.execute("UPDATE services SET is_active = true WHERE code = 'notion'")


def test_services_are_told_to_no_stranger(live):
    """Without the internal token: 401, and no list."""
    answer = live.ask("/api/internal/services", token="x" * 64)
    assert (answer.status, "services" in answer.body) == (401, False)
