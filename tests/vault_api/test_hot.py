"""The short way of a read answers as the general way does, and takes nothing but the plainest request."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import pytest

from otobotctl.vault_api import contract
from otobotctl.vault_api.actor import INTERNAL, NODE
from otobotctl.vault_api.errors import too_many
from otobotctl.vault_api.hot import Hot, fields
from otobotctl.vault_api.reading import Asked, Stored
from otobotctl.vault_api.reads import Found, Waiting
from scripts.story import vault
from tests.vault_api import conftest
from tests.vault_api.conftest import USER, Live

REQUEST = "0f0e0d0c-1111-4222-8333-444455556666"
SECRET = "ya29." + "s" * 1500


def head(path, *lines, method="GET", version="1.1"):
    """The bytes of a request without a body."""
    return "\r\n".join([f"{method} {path} HTTP/{version}", "Host: vault", *lines, "", ""]).encode()


class Caller:
    """A connection to a vault that says exactly what a test says."""

    def __init__(self, live):
        where = urlsplit(live.vault.url)
        self.socket = socket.create_connection((where.hostname, where.port), timeout=60)
        self.left = b""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def say(self, *data):
        for each in data:
            self.socket.sendall(each)

    def answer(self):
        """The first line, the headers in alphabetical order, and the body of the next answer."""
        while b"\r\n\r\n" not in self.left:
            self.more()
        top, _, self.left = self.left.partition(b"\r\n\r\n")
        first, *lines = top.decode().split("\r\n")
        headers = sorted(tuple(line.split(": ", 1)) for line in lines)
        length = int(dict(headers)["content-length"])
        while len(self.left) < length:
            self.more()
        body, self.left = self.left[:length], self.left[length:]
        return first, headers, body

    def more(self):
        data = self.socket.recv(65536)
        assert data, "hung up"
        self.left += data

    def hung_up(self):
        return not self.left and self.socket.recv(1) == b""


def asking(live, path, *lines, **named):
    with Caller(live) as caller:
        caller.say(head(path, f"x-internal-token: {live.token}", f"x-request-id: {REQUEST}", *lines, **named))
        return caller.answer()


@pytest.fixture
def stored(live):
    """Paths of a user with a connection to each of three services: well, broken, and no longer to be opened."""
    for service in ("google", "notion", "slack"):
        body = {"accessToken": SECRET, "accountIdentifier": "léa@acme.example", "expiresAt": "2199-01-01T00:00:00Z"}
        assert live.ask(contract.credentials_path(USER, service), "PUT", body=body).status in {200, 201}
    with live.database() as connection:
        connection.execute("UPDATE client_connections SET status = 'broken' WHERE service_code = 'notion'")
        connection.execute(
            "UPDATE client_connections SET encrypted_access_token = overlay(encrypted_access_token placing '00' from 40)"
            " WHERE service_code = 'slack'"
        )
    return USER


@pytest.mark.parametrize(
    ("service", "status"), [("google", 200), ("notion", 200), ("slack", 500), ("github", 404), ("null", 404)]
)
def test_both_ways_answer_the_same(live, stored, service, status):
    """Line, headers and body: found, broken, unreadable, missing, and a service that is called null."""
    path = contract.credentials_path(stored, service)
    short = asking(live, path)
    assert short[0].split(" ")[1] == str(status)
    for general in (
        asking(live, path, "accept-charset: utf-8"),  # any header that is not known to be harmless
        asking(live, path + "?a=b"),
        asking(live, path.replace(stored, stored.upper())),
    ):
        assert general == short
    closing = asking(live, path, "connection: close")
    assert closing == asking(live, path, "connection: close", "accept-charset: utf-8")
    assert (closing[0], closing[2]) == (short[0], short[2])
    assert dict(short[1])["x-request-id"] == REQUEST


def test_both_ways_write_the_same_into_the_audit(live, stored):
    """Who, what, which connection, from where, with which outcome, by which request."""
    wanted = contract.credentials_path(stored, "google")
    rows = []
    for lines in ((), ("accept-charset: utf-8",)):
        asking(live, wanted, *lines)
        with live.database() as connection:
            rows += connection.execute(
                "SELECT access_type, outcome, accessed_by, user_id, service_code, client_connection_id, request_id,"
                " address, details FROM credential_access_logs ORDER BY id DESC LIMIT 1"
            ).fetchall()
    assert rows[0] == rows[1]
    assert rows[0][:3] == ("read", "found", "internal:n8n")
    assert str(rows[0][6]) == REQUEST
    assert rows[0][7] == "127.0.0.1"


@pytest.mark.parametrize("token", ["", "x" * 64, None])
def test_a_wrong_token_gets_the_same_refusal_on_both_ways(live, stored, token):
    """401 without a token, with a wrong one and with an empty one; and no audit row of a read."""
    path = contract.credentials_path(stored, "google")
    lines = [f"x-request-id: {REQUEST}", *([] if token is None else [f"x-internal-token: {token}"])]
    found = []
    for more in ((), ("accept-charset: utf-8",)):
        with Caller(live) as caller:
            caller.say(head(path, *lines, *more))
            found.append(caller.answer())
    assert found[0] == found[1]
    assert found[0][0] == "HTTP/1.1 401 Unauthorized"
    assert SECRET.encode() not in found[0][2]


def test_a_read_that_cannot_be_audited_gives_nothing_away(live, stored):
    """Without the right to insert into the audit: an error on both ways, and no secret."""
    path = contract.credentials_path(stored, "google")
    with live.database() as connection:
        connection.execute("REVOKE INSERT ON credential_access_logs FROM vault_runtime")
        try:
            found = [asking(live, path), asking(live, path, "accept-charset: utf-8")]
        finally:
            connection.execute("GRANT INSERT ON credential_access_logs TO vault_runtime")
    assert found[0] == found[1]
    assert found[0][0].split(" ")[1] == "500"
    assert SECRET.encode() not in found[0][2]
    assert asking(live, path)[0] == "HTTP/1.1 200 OK"


def test_requests_of_one_connection_are_answered_in_their_order(live, stored):
    """Short and general ones by turns, cut anywhere, and all at once."""
    token = f"x-internal-token: {live.token}"
    read = contract.credentials_path(stored, "google")
    wanted = [read, contract.HEALTH_PATH, read, contract.credentials_path(stored, "github"), read + "?a=b", read]
    heads = [head(path, token) for path in wanted]
    statuses = ["200", "200", "200", "404", "200", "200"]
    with Caller(live) as caller:
        for each in heads:
            caller.say(each)
            caller.answer()
        caller.say(b"".join(heads))
        assert [caller.answer()[0].split(" ")[1] for _ in heads] == statuses
        for cut in (1, 20, len(heads[0]) - 1):
            caller.say(heads[0][:cut], heads[0][cut:], *heads[1:])
            assert [caller.answer()[0].split(" ")[1] for _ in heads] == statuses
        caller.say(heads[0][:-2] + b"connection: close\r\n\r\n")
        assert dict(caller.answer()[1])["connection"] == "close"
        assert caller.hung_up()


def test_the_limit_holds_on_the_short_way(postgres, tmp_path):
    """Of five reads within a limit of three, two are 429 with Retry-After."""
    environment = conftest.new_environment(postgres) | {"VAULT_INTERNAL_RATE": "3/minute"}
    with vault.serving(environment, tmp_path / "log.jsonl") as running:
        live = Live(running, environment, postgres)
        answers = [asking(live, contract.credentials_path(USER, "google")) for _ in range(5)]
    assert [answer[0].split(" ")[1] for answer in answers] == ["404", "404", "404", "429", "429"]
    assert int(dict(answers[-1][1])["retry-after"]) >= 1


NOT_PLAIN = [
    b"Host: v\r\nAccept-Charset: x\r\n\r\n",
    b"Host: v\r\nOrigin: https://evil.example\r\n\r\n",
    b"Host: v\r\nX-Forwarded-For: 203.0.113.9\r\n\r\n",
    b"Host: v\r\nContent-Length: 5\r\n\r\n",
    b"Host: v\r\nTransfer-Encoding: chunked\r\n\r\n",
    b"Host: v\r\nExpect: 100-continue\r\n\r\n",
    b"Host: v\r\nConnection: upgrade\r\n\r\n",
    b"Host: v\r\nConnection: keep-alive, x-internal-token\r\n\r\n",
    b"Host: v\r\nX-Internal-Token: a\r\nx-internal-token: b\r\n\r\n",
    b"Host: v\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n\r\n",
    b"Host: v\nContent-Length: 5\r\n\r\n",
    b"Host: v\rContent-Length: 5\r\n\r\n",
    b"Host: v\r\n folded\r\n\r\n",
    b"Host : v\r\n\r\n",
    b"Host:v\r\n\r\n",
    b"Host: v\r\nX-Internal-Token: a\x00b\r\n\r\n",
    b"Host: v\r\nX-Internal-Token: \xff\r\n\r\n",
    b"Host: v\r\n\r\nGET",
    b"Host: v\r\n",
    b"\n\n",
    b"",
]


@pytest.mark.parametrize("block", NOT_PLAIN)
def test_what_is_not_plain_goes_the_general_way(block):
    """Doubled, unknown, folded, cut, body-bearing, or with bytes that parsers disagree on."""
    assert fields(block) is None


def test_a_plain_one_is_understood():
    """The headers that Node's and Python's clients send."""
    found = fields(
        b"Accept: */*\r\nAccept-Encoding: gzip, br\r\nuser-agent: axios/1.7\r\nHost: vault-api:3001\r\n"
        b"X-Internal-Token:  abc \r\nx-node-token: n\r\nX-Request-Id: "
        + REQUEST.encode()
        + b"\r\nConnection: close\r\n\r\n"
    )
    assert (found.token, found.node, found.request, found.last) == (b"abc", b"n", REQUEST, True)
    assert not fields(b"Host: v\r\nConnection: Keep-Alive\r\n\r\n").last
    node = fields(
        b"Accept: application/json\r\nx-internal-token: i\r\nx-client-id: acme\r\nx-node-token: n\r\nUser-Agent: n8n\r\n"
        b"Accept-Encoding: gzip, compress, deflate, br\r\nHost: vault-api:3001\r\nConnection: keep-alive\r\n\r\n"
    )
    assert (node.token, node.node) == (b"i", b"n")
    assert fields(b"X-Request-Id: not-one\r\n\r\n").request == ""


@pytest.mark.parametrize(
    "line",
    [
        "POST /api/internal/user/{user}/credentials/google HTTP/1.1",
        "GET /api/internal/user/{user}/credentials/google HTTP/1.0",
        "GET /api/internal/user/{user}/credentials/google?a=b HTTP/1.1",
        "GET /api/internal/user/{user}/credentials/Google HTTP/1.1",
        "GET /api/internal/user/{user}/credentials/go%6Fgle HTTP/1.1",
        "GET /api/internal/user/{user}x/credentials/google HTTP/1.1",
        "GET  /api/internal/user/{user}/credentials/google HTTP/1.1",
        "GET http://v/api/internal/user/{user}/credentials/google HTTP/1.1",
        "GET /api/internal/user/{user}/connections HTTP/1.1",
    ],
)
def test_another_first_line_goes_the_general_way(line):
    """Other methods, versions, paths, and every spelling but the canonical one."""
    hot = Hot()
    hot.vault = object()  # nothing of it is asked
    data = f"{line.format(user=USER)}\r\nHost: v\r\n\r\n".encode()
    assert hot.begin(data, None, "127.0.0.1", lambda _: None) is None


def test_before_the_vault_is_open_nothing_is_hot():
    """A request that comes while the server starts goes the general way, which says 503."""
    data = head(contract.credentials_path(USER, "google"), "x-internal-token: abc")
    assert Hot().begin(data, None, "127.0.0.1", lambda _: None) is None


class Reader:
    """As much of a vault as the short way asks: reads that a test answers, a gate for the token `abc`, a limit."""

    def __init__(self, left=1):
        self.left, self.waiting, self.asked = left, [], []
        self.gate = self.node_gate = self.reads = self.refresh = self.limits = self.internal = self.settings = self
        self.expose_credentials = True

    def admits(self, token):
        return token == b"abc"

    def take(self):
        if not self.left:
            raise too_many(1)
        self.left -= 1

    def ask(self, asked, tell):
        self.asked.append(asked)
        self.waiting.append(Waiting(asked, tell, 0.0))
        return self.waiting[-1]

    def due(self, _found):
        return False


def beginning(reader, *lines):
    """What `begin` makes of a plain read, and what it sends."""
    hot, sent = Hot(), []
    hot.vault = reader
    data = head(contract.credentials_path(USER, "google"), f"x-request-id: {REQUEST}", *lines)
    return hot.begin(data, None, "192.0.2.1", sent.append), sent


def test_a_plain_read_goes_the_short_way():
    """It asks for exactly what was asked, by whom and from where, and sends the one answer whole."""
    reader = Reader()
    begun, sent = beginning(reader, "x-internal-token: abc")
    assert begun is not None
    (asked,) = reader.asked
    assert asked == Asked(USER, "google", REQUEST, INTERNAL, "192.0.2.1")
    assert sent == []
    reader.waiting[0].told(Found(Stored("c", "", "s", None, None, "active", False), SECRET, None))
    (answer,) = sent
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert SECRET.encode() in answer
    reader.waiting[0].told(None)
    assert len(sent) == 1


def test_whom_it_does_not_know_it_leaves_to_the_general_way():
    """A wrong token, a limit that is used up, a token that this client's workflows may not read by: nothing is asked."""
    refused = Reader()
    refused.expose_credentials = False
    for reader, token in ((Reader(), "abd"), (Reader(left=0), "abc"), (refused, "abc")):
        begun, sent = beginning(reader, f"x-internal-token: {token}")
        assert (begun, sent, reader.asked) == (None, [], [])
    begun, _ = beginning(refused, "x-node-token: abc")
    assert begun is not None
    assert refused.asked[0].actor is NODE


def test_who_hung_up_is_not_read_for():
    """A dropped read is not told, and its batch leaves it out."""
    reader = Reader()
    (reading, _), sent = beginning(reader, "x-internal-token: abc")
    reading.drop()
    assert reader.waiting[0].dropped
    reader.waiting[0].told(None)
    assert sent == []
