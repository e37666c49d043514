#!/usr/bin/env python3
"""A TCP proxy that makes a line long: half a round trip is added each way, and one for the handshake; bandwidth stays.

As a script it prints one line `LISTEN_PORT HOST:PORT` for each target and serves until it is ended:

    tests/transport/delay_proxy.py --round-trip-ms 80 127.0.0.1:2201 127.0.0.1:2202
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import socket
import threading
from contextlib import contextmanager

_CHUNK = 1 << 16


class DelayProxy:
    """Forwards `port` on 127.0.0.1 to a target. `freeze()` makes the open connections carry nothing, silently."""

    def __init__(self, host: str, port: int, round_trip_s: float = 0.0) -> None:
        self._to = (host, port)
        self._half_s = round_trip_s / 2
        self._frozen: list[asyncio.Event] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop: asyncio.AbstractEventLoop | None = None
        self.port = 0
        self.connections = 0

    async def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=_CHUNK)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def freeze(self) -> None:
        """From now on the connections that are open carry nothing; new ones work. Callable from any thread."""
        for running in list(self._frozen):
            self._loop.call_soon_threadsafe(running.clear)

    def cut(self) -> None:
        """Break the open connections; new ones work. Callable from any thread."""
        for task in list(self._tasks):
            self._loop.call_soon_threadsafe(task.cancel)

    async def _serve(self, near_in: asyncio.StreamReader, near_out: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        self._tasks.add(task)
        running = asyncio.Event()
        running.set()
        self._frozen.append(running)
        far_out = None
        try:
            await asyncio.sleep(self._half_s * 2)  # the handshake, which the client has had for nothing
            far_in, far_out = await asyncio.open_connection(*self._to, limit=_CHUNK)
            for writer in (near_out, far_out):
                writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.gather(
                self._carry(near_in, far_out, running),
                self._carry(far_in, near_out, running),
            )
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            for writer in filter(None, (near_out, far_out)):
                writer.transport.abort()
            self._tasks.discard(task)
            self._frozen.remove(running)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, running: asyncio.Event) -> None:
        queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()
        sending = asyncio.ensure_future(self._deliver(queue, writer, running))
        try:
            while data := await reader.read(_CHUNK):
                queue.put_nowait((self._loop.time() + self._half_s, data))
            queue.put_nowait((self._loop.time() + self._half_s, b""))
            await sending
        finally:
            sending.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError):
                await sending

    async def _deliver(
        self, queue: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter, running: asyncio.Event
    ) -> None:
        while True:
            due, data = await queue.get()
            await asyncio.sleep(max(0.0, due - self._loop.time()))
            await running.wait()
            if not data:
                with contextlib.suppress(OSError):
                    writer.write_eof()
                return
            writer.write(data)
            await writer.drain()


@contextmanager
def proxied(host: str, port: int, round_trip_s: float = 0.0):
    """A running DelayProxy in its own thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="delay-proxy", daemon=True)
    thread.start()
    proxy = DelayProxy(host, port, round_trip_s)
    try:
        asyncio.run_coroutine_threadsafe(proxy.start(), loop).result(30)
        yield proxy
    finally:
        asyncio.run_coroutine_threadsafe(proxy.stop(), loop).result(30)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(30)
        loop.close()


async def _main(targets: list[str], round_trip_s: float) -> None:
    for target in targets:
        host, _, port = target.rpartition(":")
        proxy = DelayProxy(host.strip("[]"), int(port), round_trip_s)
        await proxy.start()
        print(proxy.port, target, flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--round-trip-ms", type=float, default=20)
    parser.add_argument("targets", nargs="+", metavar="HOST:PORT")
    options = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(_main(options.targets, options.round_trip_ms / 1000))
