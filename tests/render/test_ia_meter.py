"""The meter of IA Interne against engines that break off, are silent, too fast or not there."""

import asyncio
import errno
import json
import os
import resource
import signal
import subprocess
import sys
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.render.test_nginx import free_port

FOLDER = Path(__file__).parents[2] / "templates/services/ia-meter"
LIMIT_S = 300
BODY = json.dumps({"messages": [{"role": "user", "content": "hidden"}], "model": "tiny:1b"})
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"
SAID = b'{"model":"tiny:1b","message":{"content":"Bonjour"},"done":false}\n'
DONE = b'{"model":"tiny:1b","done":true,"prompt_eval_count":7,"eval_count":3}\n'
END = b"0\r\n\r\n"


@pytest.fixture
def program(monkeypatch):
    """The meter's modules; they are in a container's folder and in no package."""
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    meter = __import__("meter")
    monkeypatch.setattr(
        sys.modules["passing"], "DIAL_S", LIMIT_S
    )  # a thousand callers and their engine share this loop
    yield meter
    for name in ("meter", "passing", "counting"):
        sys.modules.pop(name, None)


def chunk(data):
    return b"%x\r\n%s\r\n" % (len(data), data)


def sent(path="/api/chat", caller="acme/librechat"):
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nX-Otobot-Caller: {caller}\r\nAuthorization: Bearer hidden\r\n"
    return f"{head}Content-Length: {len(BODY)}\r\n\r\n{BODY}".encode()


@asynccontextmanager
async def metered(program, folder, engine=None, port=None):
    """The meter in this loop before an engine; gives it and its port."""
    servers = []
    if engine is not None:
        servers.append(await asyncio.start_server(engine, "127.0.0.1", 0, backlog=2048))
        port = servers[0].sockets[0].getsockname()[1]
    meter = program.Meter(("127.0.0.1", port), program.Book(folder / "usage.log"))
    loop = asyncio.get_running_loop()
    servers.append(await loop.create_server(lambda: program.Call(meter), "127.0.0.1", 0, backlog=2048))
    try:
        yield meter, servers[-1].sockets[0].getsockname()[1]
        await asyncio.wait_for(meter.idle.wait(), LIMIT_S)
    finally:
        for server in servers:
            server.close()


async def answered(port, data=None):
    """A whole answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data or sent())
    try:
        return await asyncio.wait_for(reader.read(-1), LIMIT_S)
    finally:
        writer.close()


async def question(reader):
    """What the engine is sent."""
    head = await reader.readuntil(b"\r\n\r\n")
    return head, await reader.readexactly(len(BODY))


def lines(folder):
    return [json.loads(line) for line in (folder / "usage.log").read_text().splitlines()]


def test_the_engine_gets_the_question_as_it_is_and_no_key(program, tmp_path):
    """Its body untouched, without the headers that are the proxy's; an answer before the real one is no answer."""
    seen = []

    async def engine(reader, writer):
        seen.append(await question(reader))
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + chunk(SAID) + chunk(DONE) + END)
        writer.close()

    async def run():
        async with metered(program, tmp_path, engine) as (_, port):
            return await answered(port)

    assert asyncio.run(run()).endswith(chunk(SAID) + chunk(DONE) + END)
    [(head, body)] = seen
    assert body.decode() == BODY
    assert (
        head
        == f"POST /api/chat HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\nConnection: close\r\n\r\n".encode()
    )
    [line] = lines(tmp_path)
    assert (line["caller"], line["model"], line["status"], line["end"]) == ("acme/librechat", "tiny:1b", 200, "whole")
    assert (line["tokens_in"], line["tokens_out"], line["told"], line["bytes"]) == (7, 3, True, len(SAID + DONE))
    assert "hidden" not in (tmp_path / "usage.log").read_text()


def test_a_word_is_passed_on_before_the_next_one_is_made(program, tmp_path):
    """The engine says the second one only when the caller has had the first."""

    async def run():
        had = asyncio.Event()

        async def engine(reader, writer):
            await question(reader)
            writer.write(HEAD + chunk(SAID))
            await had.wait()
            writer.write(chunk(DONE) + END)
            writer.close()

        async with metered(program, tmp_path, engine) as (meter, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent())
            await asyncio.wait_for(reader.readuntil(SAID), LIMIT_S)
            now = meter.now()
            had.set()
            rest = await asyncio.wait_for(reader.read(-1), LIMIT_S)
            writer.close()
            return now, rest

    now, rest = asyncio.run(run())
    assert now["in_flight"] == [{"caller": "acme/librechat", "model": "tiny:1b", "requests": 1, "begun": 1}]
    assert rest.endswith(END)


def test_an_engine_that_breaks_off_or_is_not_there_is_an_error(program, tmp_path):
    """The caller sees that the answer is not whole, or a 502; both are told in the line."""

    async def engine(reader, writer):
        await question(reader)
        writer.write(HEAD + chunk(SAID) + chunk(SAID))
        writer.close()

    async def run(engine, port=None):
        async with metered(program, tmp_path, engine, port) as (_, at):
            return await answered(at)

    assert asyncio.run(run(engine)).endswith(chunk(SAID))
    assert asyncio.run(run(None, free_port())).startswith(b"HTTP/1.1 502 ")
    cut, gone = lines(tmp_path)
    assert (cut["status"], cut["end"], cut["tokens_out"], cut["told"]) == (200, "cut", 2, False)
    assert (gone["status"], gone["end"], gone["first_ms"]) == (502, "unreachable", None)


def test_who_leaves_before_the_first_word_ends_what_is_made_for_him(program, tmp_path):
    """While its model is being loaded the engine says nothing for minutes."""

    async def run():
        asked, left = asyncio.Event(), asyncio.Event()

        async def engine(reader, writer):
            await question(reader)
            asked.set()
            assert await reader.read(1) == b""
            left.set()
            writer.close()

        async with metered(program, tmp_path, engine) as (meter, port):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent())
            await asyncio.wait_for(asked.wait(), LIMIT_S)
            assert meter.now()["in_flight"][0]["begun"] == 0
            writer.close()
            await asyncio.wait_for(left.wait(), LIMIT_S)

    asyncio.run(run())
    assert [(line["end"], line["tokens_out"]) for line in lines(tmp_path)] == [("left", 0)]


def test_a_caller_who_reads_slowly_slows_his_engine_and_fills_no_memory(program, tmp_path):
    """An answer of 64 MiB is not taken from the engine before somebody wants it; then all of it comes."""
    size, piece = 64 << 20, b"#" * (1 << 20)

    async def run():
        begun = asyncio.Event()
        made = [0]

        async def engine(reader, writer):
            await question(reader)
            writer.write(HEAD)
            begun.set()
            for _ in range(size // len(piece)):
                writer.write(chunk(piece))
                await writer.drain()
                made[0] += len(piece)
            writer.write(END)
            writer.close()

        async with metered(program, tmp_path, engine) as (_, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(sent())
            await asyncio.wait_for(begun.wait(), LIMIT_S)
            before = -1
            while before != made[0]:
                before = made[0]
                await asyncio.sleep(0.5)
            whole = await asyncio.wait_for(reader.read(-1), LIMIT_S)
            writer.close()
            return before, whole.count(b"#")

    held, come = asyncio.run(run())
    assert held < size // 2
    assert come == size


def test_a_thousand_answers_at_once_are_all_whole(program, tmp_path):
    """Each has its line, with its own caller."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)

    async def run():
        everybody = asyncio.Event()
        there = [0]

        async def engine(reader, writer):
            await question(reader)
            there[0] += 1
            if there[0] == 1000:
                everybody.set()
            await asyncio.wait_for(everybody.wait(), LIMIT_S)
            for _ in range(3):
                writer.write((HEAD if _ == 0 else b"") + chunk(SAID))
                await asyncio.sleep(0.05)
            writer.write(chunk(DONE) + END)
            writer.close()

        async with metered(program, tmp_path, engine) as (_, port):
            return await asyncio.gather(*(answered(port, sent(caller=f"c{n}/x")) for n in range(1000)))

    answers = asyncio.run(run())
    assert set(answers) == {HEAD + chunk(SAID) * 3 + chunk(DONE) + END}
    found = lines(tmp_path)
    assert sorted(line["caller"] for line in found) == sorted(f"c{n}/x" for n in range(1000))
    assert {(line["tokens_out"], line["end"]) for line in found} == {(3, "whole")}


def test_lines_are_rolled_and_the_oldest_go(program, tmp_path, monkeypatch):
    """The size and the number of the files are bounded."""
    monkeypatch.setattr(program, "ROLL", 100)
    monkeypatch.setattr(program, "ROLLS", 3)
    book = program.Book(tmp_path / "usage.log")
    for number in range(40):
        book.write({"number": number, "text": "x" * 20})
    rolled = sorted(tmp_path.glob("usage-*.log"))
    assert len(rolled) == 3
    assert all(path.stat().st_size <= 150 for path in rolled)
    kept = [json.loads(line)["number"] for path in rolled for line in path.read_text().splitlines()]
    assert kept == list(range(kept[0], kept[0] + len(kept)))
    assert kept[-1] >= 36


def test_a_full_disk_loses_lines_and_no_answer(program, tmp_path, monkeypatch, capsys):
    """How many is told; it goes on when there is room again."""
    book = program.Book(tmp_path / "usage.log")

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as here:
        here.setattr(program.os, "write", full)
        book.write({"number": 1})
    book.write({"number": 2})
    assert book.lost == 1
    assert "No space left" in capsys.readouterr().err
    assert lines(tmp_path) == [{"number": 2}]


def test_what_is_under_way_may_end_when_the_meter_is_told_to(tmp_path):
    """A new release: nobody new is let in, and the answer that has begun comes to its end."""
    port, behind = free_port(), free_port()
    own = {"METER_ENGINE": f"127.0.0.1:{behind}", "METER_LOGS": str(tmp_path)}
    own |= {"METER_LISTEN": "127.0.0.1", "METER_PORT": str(port)}

    async def run(meter):
        stopped = asyncio.Event()

        async def engine(reader, writer):
            await question(reader)
            writer.write(HEAD + chunk(SAID))
            await stopped.wait()
            await asyncio.sleep(0.5)
            writer.write(chunk(DONE) + END)
            writer.close()

        server = await asyncio.start_server(engine, "127.0.0.1", behind)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent())
        await asyncio.wait_for(reader.readuntil(SAID), LIMIT_S)
        meter.send_signal(signal.SIGTERM)
        stopped.set()
        rest = await asyncio.wait_for(reader.read(-1), LIMIT_S)
        writer.close()
        server.close()
        return rest

    words = (sys.executable, "-E", "-s", "-B", "-u", str(FOLDER / "meter.py"))
    with subprocess.Popen(words, env={**os.environ, **own}, stdout=subprocess.PIPE) as meter:
        try:
            assert b"listening" in meter.stdout.readline()
            assert asyncio.run(run(meter)).endswith(chunk(DONE) + END)
            assert meter.wait(LIMIT_S) == 0
        finally:
            meter.kill()
    assert [line["end"] for line in lines(tmp_path)] == ["whole"]
