"""What IA Interne's proxy adds: streams from the engine itself, through Caddy, and through Caddy with gate and meter.

    python -m benchmarks.meter --streams 200 1000

The engine is a stand-in that says a word every so often and costs nothing to think; each stream counts its words.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

_SERVICES = Path(__file__).resolve().parents[1] / "templates/services"
METER, GATE = _SERVICES / "ia-meter/meter.py", _SERVICES / "ia-gate/gate.py"
KEY = "k" * 64
WORD = json.dumps({"model": "tiny:1b", "choices": [{"delta": {"content": "bonjour "}, "finish_reason": None}]})
ITSELF, PLAIN, WHOLE = "the engine itself", "Caddy", "Caddy, gate, meter"
AIM_MS = 10.0  # what the whole proxy may add to the first byte
_TICKS = os.sysconf("SC_CLK_TCK")
_CADDYFILE = """{
	admin off
	auto_https off
}
http://127.0.0.1:%(plain)d {
	reverse_proxy 127.0.0.1:%(engine)d
}
http://127.0.0.1:%(metered)d {
	forward_auth 127.0.0.1:%(gate)d {
		uri /
		copy_headers X-Otobot-Caller
	}
	reverse_proxy 127.0.0.1:%(meter)d {
		transport http {
			keepalive off
		}
	}
}
"""


@dataclass(frozen=True)
class Told:
    """One round: seconds to each stream's first byte and to its end, and how many did not get every word."""

    first_s: list[float]
    whole_s: list[float]
    broken: int


async def engine(port: int, words: int, every_s: float) -> None:
    """Answer every request with so many words, for ever."""
    event = f"data: {WORD}\n\n".encode()
    chunk = b"%x\r\n%s\r\n" % (len(event), event)
    head = (
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sent = await reader.readuntil(b"\r\n\r\n")
        length = next(int(line.split(b":")[1]) for line in sent.lower().split(b"\r\n") if b"content-length" in line)
        await reader.readexactly(length)
        writer.write(head)
        for _ in range(words):
            writer.write(chunk)
            await asyncio.sleep(every_s)
        writer.write(b"e\r\ndata: [DONE]\n\n\r\n0\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, backlog=4096)
    await server.serve_forever()


def asked(port: int) -> bytes:
    """A question of two kilobytes."""
    body = json.dumps({"model": "tiny:1b", "stream": True, "messages": [{"role": "user", "content": "x" * 2000}]})
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {len(body)}\r\n"
    head += f"Authorization: Bearer {KEY}\r\n"
    return f"{head}Connection: close\r\n\r\n{body}".encode()


async def streams(port: int, count: int, words: int) -> Told:
    """Ask so many at once."""

    async def one() -> tuple[float, float, bool]:
        began = time.monotonic()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asked(port))
        said = await reader.read(65536)
        first = time.monotonic() - began
        said += await reader.read(-1)
        writer.close()
        whole = said.count(b"data: {") == words and b"[DONE]" in said
        return first, time.monotonic() - began, whole

    told = await asyncio.gather(*(one() for _ in range(count)))
    return Told([each[0] for each in told], [each[1] for each in told], sum(not each[2] for each in told))


async def alone(ports: list[int], times: int) -> list[list[float]]:
    """Seconds to the first byte of one caller at a time, of each port in turn."""
    told: list[list[float]] = [[] for _ in ports]
    for _ in range(times):
        for port, found in zip(ports, told, strict=True):
            began = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(asked(port))
            await reader.read(1)
            found.append(time.monotonic() - began)
            writer.close()
    return told


def spent_s(process: subprocess.Popen[bytes]) -> float:
    """Processor time that it has taken."""
    words = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICKS


def resident_mib(process: subprocess.Popen[bytes]) -> float:
    """Memory that it holds."""
    return int(Path(f"/proc/{process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def show(name: str, count: int, told: Told, rest: str) -> None:
    """A row."""
    first = sorted(told.first_s)
    half, most = statistics.median(first) * 1000, first[int(0.99 * (len(first) - 1))] * 1000
    print(
        f"| {name} | {count} | {half:.1f} | {most:.1f} | {max(told.whole_s):.2f} | {told.broken} | {rest} |", flush=True
    )


def measure(counts: list[int], words: int, every_s: float, rounds: int) -> None:
    """Print a row for each number of streams, with the meter and without."""
    caddy = shutil.which("caddy")
    if not caddy:
        raise SystemExit("no caddy: scripts/test-packages installs it")
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        ports = {
            name: 20000 + os.getpid() % 10000 + at
            for at, name in enumerate(("plain", "metered", "meter", "gate", "engine"))
        }
        (work / "Caddyfile").write_text(_CADDYFILE % ports)

        def start(*argv: str, **env: str) -> subprocess.Popen[bytes]:
            given = {**os.environ, "HOME": str(work), **env}
            process = subprocess.Popen(argv, env=given, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.send_signal, signal.SIGKILL)
            return process

        said = ("--engine", str(ports["engine"]), "--words", str(words), "--every", str(every_s))
        start(sys.executable, "-m", "benchmarks.meter", *said)
        own = {"METER_ENGINE": f"127.0.0.1:{ports['engine']}", "METER_LOGS": str(work), "METER_LISTEN": "127.0.0.1"}
        meter = start(sys.executable, str(METER), METER_PORT=str(ports["meter"]), **own)
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        caller = {"name": "acme", "purpose": "chat", "sha256": [digest], "per_minute": 0}
        (work / "keys.json").write_text(json.dumps({"callers": [caller]}))
        gate = {"IA_KEYS": str(work / "keys.json"), "IA_LISTEN": "127.0.0.1", "IA_PORT": str(ports["gate"])}
        start(sys.executable, str(GATE), **gate)
        start(caddy, "run", "--config", str(work / "Caddyfile"), "--adapter", "caddyfile")
        time.sleep(3)
        names = ("engine", "plain", "metered")
        direct, *through = asyncio.run(alone([ports[name] for name in names], 100 * rounds))
        for name, found in zip((ITSELF, PLAIN, WHOLE), (direct, *through), strict=True):
            half, most = statistics.median(found) * 1000, sorted(found)[int(0.95 * len(found))] * 1000
            print(f"one caller at a time, {name}: first byte after {half:.2f} ms (half), {most:.2f} ms (95 %)")
        added = (statistics.median(through[-1]) - statistics.median(direct)) * 1000
        print(f"{WHOLE} minus {ITSELF}: {added:.2f} ms to the first byte (half), to be under {AIM_MS} ms")
        print(
            "\n| | streams | first byte ms, half | 99 % | all done s | broken | meter |\n|---|---|---|---|---|---|---|"
        )
        for count in counts:
            for _ in range(rounds):
                show(ITSELF, count, asyncio.run(streams(ports["engine"], count, words)), "")
                show(PLAIN, count, asyncio.run(streams(ports["plain"], count, words)), "")
                before = spent_s(meter)
                told = asyncio.run(streams(ports["metered"], count, words))
                took = (spent_s(meter) - before) / (count * words) * 1e6
                show(WHOLE, count, told, f"{took:.0f} µs of CPU a word, {resident_mib(meter):.0f} MiB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--streams", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--words", type=int, default=50)
    parser.add_argument("--every", type=float, default=0.1, help="seconds between words")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--engine", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.engine:
        asyncio.run(engine(given.engine, given.words, given.every))
    else:
        measure(given.streams, given.words, given.every, given.rounds)
