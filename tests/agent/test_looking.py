"""What the doctor's half on the host reads: containers, sockets, logins; and no value of a secret leaves it."""

from __future__ import annotations

import json
import socket
import sys

import pytest

from otobotctl.agent import inspected, listening, logins
from otobotctl.agent.kinds import doctor, shield

SECRET = "c0ffee" * 10 + "abcd"
CONTAINER = {
    "Id": "5dd4336c24e8",
    "Name": "/otobot-acme-vault-api-1",
    "RestartCount": 2,
    "State": {
        "Status": "running", "Running": True, "ExitCode": 0, "Error": "", "OOMKilled": False,
        "StartedAt": "2026-11-21T18:13:05.155866096Z", "Health": {"Status": "healthy", "FailingStreak": 0},
    },
    "Config": {
        "Image": "otobot/vault-api:1",
        "Env": [f"KEY={SECRET}", "EMPTY=", "URL=https://acme.example/?a=b", "TOKEN=aB-_9"],
        "Labels": {"com.docker.compose.project": "otobot-acme", "com.docker.compose.service": "vault-api"},
    },
    "HostConfig": {"PortBindings": {"3001/tcp": [{"HostIp": "127.0.0.1", "HostPort": "3001"}]}},
    "NetworkSettings": {"Ports": {"3001/tcp": [{"HostIp": "127.0.0.1", "HostPort": "3001"}], "9/tcp": None}},
}  # fmt: skip


def test_of_the_environment_only_lengths_and_shapes_leave_the_host():
    """A value is told as how long it is and what it is made of."""
    told = inspected.told(CONTAINER)
    assert told["environment"] == {"KEY": [64, "hex"], "EMPTY": [0, "empty"], "URL": [25, "text"], "TOKEN": [5, "base64url"]}  # fmt: skip
    assert SECRET not in json.dumps(told)


def test_a_container_as_it_is_told():
    """Compose's names, state, health, restarts, and each published address once."""
    told = inspected.told(CONTAINER)
    assert (told["name"], told["project"], told["service"]) == ("otobot-acme-vault-api-1", "otobot-acme", "vault-api")
    assert (told["state"], told["health"], told["restarts"], told["once"]) == ("running", "healthy", 2, False)
    assert told["published"] == [["127.0.0.1", 3001]]


def test_a_container_of_nobody_and_one_without_a_check():
    """`docker run` by hand has neither project nor service; a published port without an address is everywhere's."""
    bare = {"Id": "1", "Name": "/stray", "State": {"Status": "running"}, "Config": {"Image": "x", "Labels": None}, "HostConfig": {"PortBindings": {"1/tcp": [{"HostIp": "", "HostPort": "9999"}]}}}  # fmt: skip
    told = inspected.told(bare)
    assert (told["project"], told["service"], told["health"], told["environment"]) == ("", "", "", {})
    assert told["published"] == [["0.0.0.0", 9999]]


@pytest.mark.parametrize(("value", "shape"), [("", "empty"), ("09afAF", "hex"), ("0g", "alnum"), ("a-b_c=", "base64url"), ("a b", "text"), ("é", "text"), ("ab\n", "text")])  # fmt: skip
def test_shapes(value, shape):
    """The narrowest one that fits; a newline at the end is no part of a key."""
    assert inspected.shape(value) == shape


@pytest.mark.skipif(sys.byteorder != "little", reason="the sample is of a little-endian machine")
def test_listening_sockets_of_both_families():
    """As the kernel writes them, in its own byte order; other states are left out."""
    four = "  sl  local_address rem_address   st\n   0: 0100007F:0BB9 00000000:0000 0A 0\n   1: 00000000:0016 00000000:0000 0A 0\n   2: 0100007F:0BB9 0100007F:1234 01 0\n"
    six = "  sl  local_address rem_address   st\n   0: 00000000000000000000000000000000:01BB 0:0 0A 0\n   1: 00000000000000000000000001000000:0050 0:0 0A 0\n"
    assert listening.parse(four, socket.AF_INET) == [("127.0.0.1", 3001), ("0.0.0.0", 22)]
    assert listening.parse(six, socket.AF_INET6) == [("::", 443), ("::1", 80)]


@pytest.mark.skipif(sys.platform != "linux", reason="the agent runs on Linux only")
def test_a_socket_of_this_machine_is_seen():
    """A real one, over IPv4."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert ["127.0.0.1", server.getsockname()[1]] in listening.sockets()
    assert ["127.0.0.1", server.getsockname()[1] if server.fileno() > 0 else 0] not in listening.sockets()


def test_credentials_are_the_value_or_part_of_an_address():
    """An address has both; its letters may be escaped."""
    assert logins.credentials("abc", "role") == ("role", "abc")
    assert logins.credentials("mongodb://librechat_owner_2:a%2Fb@mongo:27017/librechat", "role") == ("librechat_owner_2", "a/b")  # fmt: skip
    assert logins.credentials("redis://:secret@redis:6379", "") == ("", "secret")


def here(**state):
    running = {"Running": True, **state}
    server = {"Id": "s", "Name": "/s", "State": running, "Config": {"Env": [], "Labels": {}}}
    holder = {
        "Id": "h",
        "Name": "/h",
        "State": running,
        "Config": {"Env": ["PG_PASS=pw", "PG_USER=owner_2"], "Labels": {}},
    }
    return {("otobot-acme", "postgres"): server, ("otobot-acme", "tooljet"): holder}


WANTED = {"project": "otobot-acme", "engine": "postgres", "server": "postgres", "role": "owner", "database": "d", "holder": "tooljet", "variable": "PG_PASS", "user": "PG_USER"}  # fmt: skip


def test_a_login_comes_as_whom_its_service_comes(monkeypatch):
    """By the service's own variables; the password is in no argument."""
    seen = []
    monkeypatch.setattr(logins, "login", lambda *given: seen.append(given) or logins.Login(True, ""))
    assert doctor._login(here(), WANTED) == {"ok": True, "said": ""}
    assert seen == [("s", "postgres", "postgres", "owner_2", "d", "pw")]


@pytest.mark.parametrize("missing", ["postgres", "tooljet", "PG_PASS"])
def test_a_login_that_cannot_be_tried_is_neither_right_nor_wrong(missing):
    """Another check tells of what is not there."""
    found = here()
    if missing == "PG_PASS":
        found["otobot-acme", "tooljet"]["Config"]["Env"] = []
    else:
        del found["otobot-acme", missing]
    assert doctor._login(found, WANTED)["ok"] is None


def test_nothing_that_must_be_spared_is_held_off():
    """By any network that holds it, of its own family alone, and an IPv4 address however it is written."""
    from otobotctl.agent.run import StepError

    for block, spared in (("203.0.113.0/24", "203.0.113.9"), ("2001:db8::/32", "2001:db8::1"), ("203.0.113.9", "::ffff:203.0.113.9")):  # fmt: skip
        with pytest.raises(StepError, match="your own way in"):
            shield.refuse(block, ["198.51.100.1", spared])
    shield.refuse("203.0.113.0/24", ["198.51.100.1", "2001:db8::1", "::ffff:198.51.100.1"])
