#!/usr/bin/python3
"""A stand-in for mongod: its wire protocol, its logins and its refusals; plain equality filters; one file on disk.

It is not a database. What it is for: real drivers and the real mongosh talk to it, and with `--auth` a caller without a
password, or with somebody else's rights, is refused as by the real one.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import socketserver
import struct
import sys
from pathlib import Path

import bson
from commands import Session
from store import Store

_HEADER = struct.Struct("<iiii")
_OP_REPLY, _OP_QUERY, _OP_MSG = 1, 2004, 2013
_LARGEST = 48_000_000


class Connection(socketserver.StreamRequestHandler):
    """One client: requests in, answers out, until it hangs up."""

    server: Server

    def handle(self) -> None:
        """Answer until the other side ends."""
        with contextlib.suppress(ConnectionError):
            self._serve()

    def _serve(self) -> None:
        session = Session(self.server.store, auth=self.server.auth)
        while len(head := self.rfile.read(_HEADER.size)) == _HEADER.size:
            length, request, _, code = _HEADER.unpack(head)
            if not _HEADER.size < length <= _LARGEST:
                return
            body = self.rfile.read(length - _HEADER.size)
            if code == _OP_MSG:
                command, silent = _message(body)
                answer = struct.pack("<IB", 0, 0) + bson.encode(session.run(command))
                if not silent:
                    self._send(request, _OP_MSG, answer)
            elif code == _OP_QUERY:
                answer = struct.pack("<iqii", 8, 0, 0, 1) + bson.encode(session.run(_query(body)))
                self._send(request, _OP_REPLY, answer)
            else:
                return

    def _send(self, request: int, code: int, body: bytes) -> None:
        self.wfile.write(_HEADER.pack(_HEADER.size + len(body), 0, request, code) + body)


def _message(body: bytes) -> tuple[dict[str, object], bool]:
    """One command out of an OP_MSG: its document, and its sequences of documents under their names."""
    (flags,) = struct.unpack_from("<I", body)
    command: dict[str, object] = {}
    end, at = len(body) - (4 if flags & 1 else 0), 4
    while at < end:
        kind, at = body[at], at + 1
        (size,) = struct.unpack_from("<i", body, at)
        if kind == 0:
            command = {**bson.decode(body[at : at + size]), **command}
        else:
            name, _, documents = body[at + 4 : at + size].partition(b"\0")
            command[name.decode()] = bson.decode_all(documents)
        at += size
    return command, bool(flags & 2)


def _query(body: bytes) -> dict[str, object]:
    """The greeting of a driver that does not know the server yet, as an OP_QUERY."""
    name, _, rest = body[4:].partition(b"\0")
    (size,) = struct.unpack_from("<i", rest, 8)
    document = bson.decode(rest[8 : 8 + size])
    return {**document.get("$query", document), "$db": name.decode().partition(".")[0]}


class Server(socketserver.ThreadingTCPServer):
    """Listens, a thread a client."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], store: Store, *, auth: bool) -> None:
        super().__init__(address, Connection)
        self.store, self.auth = store, auth


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    parser = argparse.ArgumentParser("mongod", allow_abbrev=False)
    parser.add_argument("--auth", action="store_true")
    parser.add_argument("--bind_ip_all", action="store_true")
    parser.add_argument("--bind_ip", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=27017)
    parser.add_argument("--dbpath", type=Path, default=Path("/data/db"))
    parser.add_argument("--wiredTigerCacheSizeGB", type=float, default=0.25)
    parser.add_argument("--slowms", type=int, default=100)
    given = parser.parse_args()
    if not 0.25 <= given.wiredTigerCacheSizeGB <= 10000:  # the real one's limits
        parser.error("storage.wiredTiger.engineConfig.cacheSizeGB must be between 0.25 and 10000")
    for sign in (signal.SIGTERM, signal.SIGINT):
        signal.signal(sign, lambda number, _: sys.exit(0 if number == signal.SIGTERM else 1))
    address = "0.0.0.0" if given.bind_ip_all else given.bind_ip  # as it was told to
    with Server((address, given.port), Store(given.dbpath), auth=given.auth) as server:
        print(f"Waiting for connections on {address}:{given.port}", flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main()
