"""A client's sites as a visitor anywhere sees them: by their names, over TLS, at one host's address."""

from __future__ import annotations

import base64
import os
import socket
import ssl

import httpx


class ByName(httpx.HTTPTransport):
    """Sends every request to one address, whatever name it is for: names of a lab are in no DNS."""

    def __init__(self, address: str) -> None:
        super().__init__(verify=ssl._create_unverified_context())
        self._address = address

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """As ever, with the name in TLS and in `Host` alone."""
        name = {"sni_hostname": request.url.host}
        url = request.url.copy_with(host=self._address)
        moved = httpx.Request(
            request.method,
            url,
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, **name},
        )
        return super().handle_request(moved)


def browser(address: str) -> httpx.Client:
    """Return a client that reaches every name at `address` and follows no redirect."""
    return httpx.Client(transport=ByName(address), timeout=60, trust_env=False)


def echoed(address: str, name: str, path: str, text: str) -> str:
    """Open a websocket through the proxy, send `text` and return what comes back. Raises AssertionError, OSError."""
    context = ssl._create_unverified_context()
    with socket.create_connection((address, 443), 10) as raw, context.wrap_socket(raw, server_hostname=name) as line:
        line.settimeout(30)
        key = base64.b64encode(os.urandom(16)).decode()
        head = f"GET {path} HTTP/1.1\r\nHost: {name}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        line.sendall(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
        with line.makefile("rb") as answer:
            status = answer.readline()
            assert b" 101 " in status, status
            while answer.readline().strip():
                pass
            # One text frame, masked with nothing: shorter than 126 bytes, its length is one byte.
            line.sendall(bytes((0x81, 0x80 | len(text), 0, 0, 0, 0)) + text.encode())
            opcode, length = answer.read(2)
            assert opcode == 0x81
            return answer.read(length).decode()


def answers(address: str, port: int, limit_s: float = 3) -> bool:
    """Whether anything accepts a connection there."""
    try:
        with socket.create_connection((address, port), limit_s):
            return True
    except OSError:
        return False
