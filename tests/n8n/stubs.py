"""What n8n talks to in these tests: a third party over https, and a door to the real vault that can play faults."""

from __future__ import annotations

import base64
import datetime as dt
import json
import ssl
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        """Nothing on stderr."""

    def _any(self) -> None:
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length).decode() if length else ""
        self.server.owner.answer(self, body)  # type: ignore[attr-defined]

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - the base class looks for these names

    def reply(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


class ThirdParty:
    """A service's API on localhost, which repeats in every way what it was sent. `asked` are the requests it got."""

    def __init__(self, port: int) -> None:
        self.host = f"localhost:{port}"
        self.url = f"https://{self.host}"
        self.asked: list[dict[str, Any]] = []

    def answer(self, request: _Handler, body: str) -> None:
        path, _, query = request.path.partition("?")
        token = (request.headers.get("authorization") or request.headers.get("x-api-key") or "").removeprefix("Bearer ")
        self.asked.append({
            "method": request.command, "path": path, "query": dict(urllib.parse.parse_qsl(query)),
            "body": body, "token": token, "headers": {name.lower(): value for name, value in request.headers.items()},
        })  # fmt: skip
        _, _, last = path.rpartition("/")
        status = int(last) if last.isdigit() else 200
        document = {"ok": status < 400, "path": path, "echo": repeated(token)}
        more = {"Retry_After": "7"} if status == 429 else {}
        if 300 <= status < 400:
            more["Location"] = f"{self.url}/elsewhere?token={urllib.parse.quote(token, safe='')}"
        if path.startswith("/quiet"):
            request.reply(status, b'{"ok": true}', Location=f"{self.url}/elsewhere")
        elif path == "/text":
            request.reply(200, f"you are {token}".encode(), "text/plain")
        else:
            request.reply(status, json.dumps(document).encode(), X_Echo=token, **more)


def repeated(token: str) -> dict[str, str]:
    """A token in the forms that a careless service might send it back in."""
    raw = token.encode()
    return {
        "raw": token,
        "header": f"Bearer {token}",
        "base64": base64.b64encode(raw).decode(),
        "base64url": base64.urlsafe_b64encode(raw).decode(),
        "basic": base64.b64encode(b"user:" + raw).decode(),
        "basic1": base64.b64encode(b"u:" + raw + b":x").decode(),
        "url": urllib.parse.quote(token, safe=""),
        "form": urllib.parse.urlencode({"t": token}),
        "hex": raw.hex(),
    }


@contextmanager
def third_party(directory: Path) -> Iterator[tuple[ThirdParty, Path]]:
    """Serve a third party; give it, and the authority to trust for it."""
    certificate = _certificate(directory)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with serving(ThirdParty, context) as served:
        yield served, certificate


class VaultDoor:
    """Passes requests on to the real vault. `hosts` are added to a service's; `faults` answer a path instead of it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.vault = ""
        self.hosts: dict[str, list[str]] = {}
        self.faults: dict[str, tuple[int, dict[str, str]]] = {}
        self.slow_s = 0.0
        self.asked: list[dict[str, str]] = []  # the headers of each request

    def answer(self, request: _Handler, body: str) -> None:
        self.asked.append({name.lower(): value for name, value in request.headers.items()})
        time.sleep(self.slow_s)
        for ending, (status, headers) in self.faults.items():
            if request.path.endswith(ending):
                request.reply(status, b'{"error": "as the test wants"}', **headers)
                return
        passed = urllib.request.Request(self.vault + request.path, method=request.command)
        for name in ("x-internal-token", "x-node-token"):
            passed.add_header(name, request.headers.get(name, ""))
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(passed, timeout=60) as answer:
                status, content = answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                status, content = error.code, error.read()
        if request.path.endswith("/services") and status == 200:
            document = json.loads(content)
            for service in document["services"]:
                service["apiHosts"] += self.hosts.get(service["code"], [])
            content = json.dumps(document).encode()
        request.reply(status, content)


class Models:
    """Something OpenAI-compatible. `keys` are the Authorization headers of what it was asked."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.keys: list[str] = []

    def answer(self, request: _Handler, body: str) -> None:
        self.keys.append(request.headers.get("authorization") or "")
        said = {"choices": [{"message": {"role": "assistant", "content": f"{len(body)} bytes"}}]}
        request.reply(200, json.dumps(said).encode())


@contextmanager
def models() -> Iterator[Models]:
    """Serve it."""
    with serving(Models, None) as served:
        yield served


@contextmanager
def vault_door() -> Iterator[VaultDoor]:
    """Serve a door to a vault."""
    with serving(VaultDoor, None) as served:
        yield served


@contextmanager
def serving(kind: Any, context: ssl.SSLContext | None) -> Iterator[Any]:
    """Serve `kind(port)` on a port of its own, over https where there is a context."""
    """Serve a kind of answerer on a port of its own."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    if context:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    server.owner = kind(server.server_address[1])  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.owner  # type: ignore[attr-defined]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _certificate(directory: Path) -> Path:
    """A certificate for localhost that is its own authority, with its key in the same file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=2))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = directory / "third-party.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM) + secret)
    return path
