"""IA Interne as it serves: a real Caddy with what is rendered, the gate and the meter, and a stand-in for the engine."""

import asyncio
import hashlib
import json
import os
import resource
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from tests.render.sample import text
from tests.render.test_caddy import caddy  # noqa: F401 - a fixture
from tests.render.test_ia import release
from tests.render.test_nginx import free_port
from tests.waiting import until

ROOT = Path(__file__).parents[2]
STAND_IN = ROOT / "tests/lab/files/images/ollama/ollama.py"
GATE = ROOT / "templates/services/ia-gate/gate.py"
METER = ROOT / "templates/services/ia-meter/meter.py"
KEY = "k" * 64


@contextmanager
def started(*argv, env=None):
    """A program that runs as long as this."""
    process = subprocess.Popen(
        argv, env={**os.environ, **(env or {})}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def served(caddy, tmp_path):  # noqa: F811
    """The rendered proxy over plain HTTP on this machine, with the gate and a server behind it."""
    port = free_port()
    model = {"OLLAMA_HOST": f"127.0.0.1:{port}", "OLLAMA_MODELS": str(tmp_path / "models")}
    with started(sys.executable, str(STAND_IN), "serve", env=model), before(port, caddy, tmp_path) as (caller, keys):
        until_up(caller)
        (tmp_path / "engine").write_text(f"127.0.0.1:{port}")
        httpx.post(f"http://127.0.0.1:{port}/api/pull", json={"model": "tiny:1b"}, timeout=60, trust_env=False)
        yield caller, keys, tmp_path / "access.log"


@contextmanager
def before(engine_port, caddy, folder):  # noqa: F811
    """Proxy, gate and meter before an engine: somebody who asks them, and the list of keys."""
    front_port, gate_port, meter_port = (free_port() for _ in range(3))
    keys = folder / "keys.json"
    keys.write_text(listed())
    config = text(release(cpu=True), "ia-proxy/Caddyfile")
    site = config[config.index("https://ia.example {") :].replace(
        "https://ia.example", f"http://127.0.0.1:{front_port}"
    )
    site = site.replace("\ttls internal\n", "").replace("/var/log/ia", str(folder))
    site = site.replace("ia-gate:8080", f"127.0.0.1:{gate_port}").replace("ia-meter:8080", f"127.0.0.1:{meter_port}")
    file = folder / "Caddyfile"
    file.write_text("{\n\tadmin off\n}\n" + site)
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "XDG_DATA_HOME": str(folder)}
    own = {"IA_KEYS": str(keys), "IA_LISTEN": "127.0.0.1", "IA_PORT": str(gate_port)}
    counts = {"METER_ENGINE": f"127.0.0.1:{engine_port}", "METER_LOGS": str(folder)}
    counts |= {"METER_LISTEN": "127.0.0.1", "METER_PORT": str(meter_port)}
    words = (caddy, "run", "--config", str(file), "--adapter", "caddyfile")
    with (
        started(sys.executable, str(GATE), env=own),
        started(sys.executable, "-E", "-s", "-B", str(METER), env=counts),
        started(*words, env=env),
        httpx.Client(base_url=f"http://127.0.0.1:{front_port}", timeout=60, trust_env=False) as caller,
    ):
        yield caller, keys


def listed(*callers):
    """A list of keys."""
    own = {"name": "acme", "purpose": "chat", "sha256": [hashlib.sha256(KEY.encode()).hexdigest()], "per_minute": 0}
    return json.dumps({"callers": [own, *callers]})


def until_up(caller):
    def up():
        return caller.get("/api/version", headers=bearer(KEY)).status_code == 200

    until(up, "the proxy and the engine behind it", but=(httpx.TransportError,))


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def test_nobody_passes_without_a_key_and_nobody_is_who_he_says(served):
    """Refused in every spelling; a header that names a caller is not believed; the key goes no further."""
    caller, _, log = served
    for headers in (
        {},
        {"Authorization": "Bearer"},
        bearer("x"),
        {"Authorization": KEY},
        {"Authorization": f"Basic {KEY}"},
    ):
        assert caller.get("/v1/models", headers={**headers, "X-Otobot-Caller": "root/root"}).status_code == 401
    repeated = [("Authorization", f"Bearer {KEY}"), ("Authorization", "Bearer x")]
    assert caller.get("/v1/models", headers=repeated).status_code != 200
    assert caller.get("/v1/models", headers={"authorization": f"bearer {KEY}"}).status_code == 200
    for path in ("/api/pull", "/api/delete", "/v1/..%2fapi/pull", "//api/pull", "/api/tags/../pull"):
        assert caller.post(path, headers=bearer(KEY), json={}).status_code == 403
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert {entry["user_id"] for entry in entries} == {"", "acme/chat"}
    assert KEY not in log.read_text()


def test_a_key_is_given_and_taken_by_writing_the_list(served):
    """By the next request, without a restart; a list that cannot be read lets nobody in."""
    caller, keys, _ = served
    other = {"name": "beta", "purpose": "n8n", "sha256": [hashlib.sha256(b"b").hexdigest()], "per_minute": 0}
    assert caller.get("/v1/models", headers=bearer("b")).status_code == 401
    written(keys, listed(other))
    assert caller.get("/v1/models", headers=bearer("b")).status_code == 200
    written(keys, listed())
    assert caller.get("/v1/models", headers=bearer("b")).status_code == 401
    for broken in ("{", "[]", '{"callers": [{}]}', '{"callers": 3}'):
        written(keys, broken)
        assert caller.get("/v1/models", headers=bearer(KEY)).status_code == 503
    keys.unlink()
    assert caller.get("/v1/models", headers=bearer(KEY)).status_code == 503
    written(keys, listed())
    assert caller.get("/v1/models", headers=bearer(KEY)).status_code == 200


def test_a_caller_has_so_many_requests_a_minute(served):
    """The next one is told how long to wait."""
    caller, keys, _ = served
    few = {"name": "beta", "purpose": "n8n", "sha256": [hashlib.sha256(b"b").hexdigest()], "per_minute": 2}
    written(keys, listed(few))
    seen = [caller.get("/v1/models", headers=bearer("b")) for _ in range(4)]
    assert [each.status_code for each in seen[:2]] == [200, 200]
    assert 429 in [each.status_code for each in seen]
    assert 1 <= int(next(each for each in seen if each.status_code == 429).headers["retry-after"]) <= 31
    assert caller.get("/v1/models", headers=bearer(KEY)).status_code == 200


def written(path, content):
    """Replace a file as the agent does."""
    beside = path.with_suffix(".new")
    beside.write_text(content)
    beside.rename(path)


async def streamed(port, count, tokens):
    """Ask so many at once for so many words; give each one's number of events and whether it came to its end."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n"
    body = json.dumps({"model": "tiny:1b", "stream": True, "max_tokens": tokens})
    sent = f"{head}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()

    async def one():
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(sent)
            answer = await asyncio.wait_for(reader.read(-1), 300)
        finally:
            writer.close()
        return answer.count(b"data: "), b"data: [DONE]" in answer, answer.partition(b"\r\n")[0]

    return await asyncio.gather(*(one() for _ in range(count)))


def test_a_thousand_answers_are_streamed_at_once_and_nothing_is_lost(caddy, tmp_path):  # noqa: F811
    """Every event of each, and its end; the engine says a word only when all thousand have asked."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # callers and engine are this process
    there = []

    async def run():
        everybody = asyncio.Event()

        async def engine(reader, writer):
            head = await reader.readuntil(b"\r\n\r\n")
            if head.startswith(b"GET"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                writer.close()
                return
            there.append(head)
            if len(there) == 1000:
                everybody.set()
            await asyncio.wait_for(everybody.wait(), 300)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n")
            for word in [b"data: {}\n\n"] * 11 + [b"data: [DONE]\n\n"]:
                writer.write(b"%x\r\n%s\r\n" % (len(word), word))
                await asyncio.sleep(0.05)
            writer.write(b"0\r\n\r\n")
            writer.close()

        async with await asyncio.start_server(engine, "127.0.0.1", 0, backlog=2048) as server:
            with before(server.sockets[0].getsockname()[1], caddy, tmp_path) as (caller, _):
                await asyncio.to_thread(until_up, caller)
                return await streamed(caller.base_url.port, 1000, 10)

    answers = asyncio.run(run())
    assert len(there) == 1000
    assert {status for _, _, status in answers} == {b"HTTP/1.1 200 OK"}
    assert {(events, ended) for events, ended, _ in answers} == {(12, True)}


async def left(port, count):
    """Ask so many at once for a long answer, and leave once each has its first word."""
    body = json.dumps({"model": "tiny:1b", "stream": True, "max_tokens": 100_000})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nAuthorization: Bearer {KEY}\r\n"
    lines = [await asyncio.open_connection("127.0.0.1", port) for _ in range(count)]
    for _, writer in lines:
        writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
    for reader, _ in lines:
        await asyncio.wait_for(reader.readuntil(b"data: "), 120)
    for _, writer in lines:
        writer.transport.abort()


def generating(log):
    """How many answers the engine is making, and how many callers left before the end."""
    return httpx.get(f"http://{engine_of(log)}/stand-in/running", timeout=60, trust_env=False).json()


def test_every_caller_who_leaves_ends_his_own_generation(served):
    """All of fifty that went at once, through proxy and meter; the one who stays has his whole answer."""
    caller, _, log = served
    asyncio.run(left(caller.base_url.port, 50))
    [(events, ended, _)] = asyncio.run(streamed(caller.base_url.port, 1, 10))
    assert (events, ended) == (12, True)
    until(lambda: generating(log) == {"now": 0, "cut": 50}, lambda: f"no generation goes on: {generating(log)}")


def engine_of(log):
    """Where the server behind it all listens."""
    return log.with_name("engine").read_text()


def lines_of(log, count):
    """The meter's lines, once so many are there."""
    path = log.with_name("usage.log")
    until(lambda: path.exists() and len(path.read_text().splitlines()) >= count, f"{count} lines of the meter")
    return [json.loads(line) for line in path.read_text().splitlines()]


def told(log):
    """What the meter says on its socket."""
    with socket.socket(socket.AF_UNIX) as door:
        door.connect(str(log.with_name("now.sock")))
        return json.loads(door.makefile().read())


def test_each_request_is_a_line_with_its_model_and_tokens_and_nothing_that_was_said(served):
    """Both APIs, streamed or not, with a late error in a 200; where a client wants no usage, the pieces are counted."""
    caller, _, log = served
    question = {"messages": [{"role": "user", "content": "hidden-question"}], "model": "tiny:1b", "max_tokens": 4}
    question["options"] = {"num_predict": 4}
    asked = [
        ("/api/chat", {}),
        ("/api/generate", {"stream": False}),
        ("/v1/chat/completions", {"stream": True}),
        ("/v1/chat/completions", {"stream": True, "stream_options": {"include_usage": True}}),
        ("/v1/chat/completions", {}),
        ("/api/chat", {"model": "none:1b"}),
    ]
    for path, more in asked:
        caller.post(path + "?secret=hidden-query", headers=bearer(KEY), json={**question, **more})
    caller.get("/api/tags", headers=bearer(KEY))
    found = lines_of(log, len(asked))
    assert [(line["path"], line["status"], line["tokens_in"], line["tokens_out"], line["told"]) for line in found] == [
        ("/api/chat", 200, 5, 4, True),
        ("/api/generate", 200, 5, 4, True),
        ("/v1/chat/completions", 200, 0, 4, False),
        ("/v1/chat/completions", 200, 5, 4, True),
        ("/v1/chat/completions", 200, 5, 4, True),
        ("/api/chat", 404, 0, 0, False),
    ]
    assert {(line["caller"], line["end"]) for line in found} == {("acme/chat", "whole")}
    assert [line["model"] for line in found] == ["tiny:1b"] * 5 + ["none:1b"]
    assert all(line["ms"] >= line["first_ms"] > 0 for line in found)
    for said in (KEY, "hidden", "Bonjour"):
        assert said not in log.with_name("usage.log").read_text()


def test_an_error_late_in_an_answer_is_counted_as_one(served):
    """In either API; the answer itself is as the engine gave it."""
    caller, _, log = served
    httpx.post(f"http://{engine_of(log)}/api/pull", json={"model": "broken:1b"}, timeout=60, trust_env=False)
    for path in ("/api/chat", "/v1/chat/completions"):
        answer = caller.post(path, headers=bearer(KEY), json={"model": "broken:1b", "stream": True})
        assert answer.status_code == 200
        assert "CUDA error" in answer.text
    assert [(line["status"], line["end"]) for line in lines_of(log, 2)] == [(200, "error")] * 2


def test_who_leaves_is_seen_in_flight_and_then_ends_the_generation(served):
    """With what had come counted, and marked as left."""
    caller, _, log = served
    question = {"model": "tiny:1b", "stream": True, "max_tokens": 100_000}
    with caller.stream("POST", "/v1/chat/completions", headers=bearer(KEY), json=question) as answer:
        lines = answer.iter_lines()  # kept: the answer ends with it
        assert "Bonjour" in next(lines)
        assert told(log) == {
            "in_flight": [{"caller": "acme/chat", "model": "tiny:1b", "requests": 1, "begun": 1}],
            "lost": 0,
        }
    [line] = lines_of(log, 1)
    assert (line["end"], line["told"], line["tokens_in"]) == ("left", False, 0)
    assert line["tokens_out"] >= 1
    assert told(log)["in_flight"] == []
    until(lambda: generating(log) == {"now": 0, "cut": 1}, lambda: f"no generation goes on: {generating(log)}")
