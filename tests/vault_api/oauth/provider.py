"""A provider on loopback whose tokens, rotation and faults a test decides."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

CLIENT_ID = "stub-client-id"
CLIENT_SECRET = "stub-client-SECRET"


class Stub:
    """Issues tokens with numbers, so that a test can say which one it holds. `faults` are used up in order, one a call.

    A fault is (when, what): `before` the grant is looked at, or `after` it was rotated; what: a status, garbage, a
    number of seconds to sleep (then answering), hang (until the client goes), drop, or (status,) to repeat what was sent.
    """

    def __init__(self, *, rotates=True, grace=False, lifetime_s=3600):
        self.rotates, self.grace, self.lifetime_s = rotates, grace, lifetime_s
        self.lock = threading.Lock()
        self.codes = {}
        self.valid = {}  # refresh token -> account
        self.successors = {}  # refresh token -> (access, refresh) that it was rotated to
        self.refreshes = []  # (token shown, outcome)
        self.exchanges = []
        self.revoked = []
        self.alerts = []
        self.alert_statuses = []
        self.faults = []
        self.exchange_faults = []
        self.secrets = {CLIENT_SECRET}
        self.number = 0
        self.entered = threading.Event()
        self.release = threading.Event()
        self.stopping = threading.Event()

    def mint(self, account):
        self.number += 1
        access, refresh = f"access-SECRET-{account}-{self.number}", f"refresh-SECRET-{account}-{self.number}"
        self.secrets |= {access, refresh}
        self.valid[refresh] = account
        return access, refresh

    def authorize(self, query, account):
        """What the user's consent does: a code, tied to the challenge."""
        code = f"code-SECRET-{len(self.codes) + 1}"
        self.secrets.add(code)
        self.codes[code] = (account, query.get("code_challenge"), query["redirect_uri"])
        return code

    def answer(self, access, refresh, **more):
        body = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": self.lifetime_s,
            "scope": "one two",
            **more,
        }
        return 200, {**body, **({"refresh_token": refresh} if refresh else {})}

    def exchange(self, form):
        with self.lock:
            account, challenge, redirect_uri = self.codes.pop(form.get("code", ""), (None, None, None))
            verifier = form.get("code_verifier", "")
            self.secrets.add(verifier)
            made = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
            good = account and form.get("redirect_uri") == redirect_uri and (challenge in (None, made))
            self.exchanges.append(bool(good))
            if not good:
                return 400, {"error": "invalid_grant"}
            return self.answer(*self.mint(account), account={"name": account})

    def refresh(self, form):
        token = form.get("refresh_token", "")
        with self.lock:
            if token in self.successors and self.grace:
                self.refreshes.append((token, "again"))
                return self.answer(*self.successors[token])
            account = self.valid.get(token)
            if account is None:
                self.refreshes.append((token, "refused"))
                return 400, {"error": "invalid_grant", "error_description": f"{token} is unknown"}
            self.refreshes.append((token, "granted"))
            access, fresh = self.mint(account)
            if not self.rotates:
                del self.valid[fresh]
                return self.answer(access, None)
            del self.valid[token]
            self.successors[token] = (access, fresh)
            return self.answer(access, fresh)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        return

    def do_GET(self):
        self._say(200, {"name": "from identity"})

    def do_POST(self):
        stub = self.server.stub
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        path = urlsplit(self.path).path
        if path == "/alert":
            status = stub.alert_statuses.pop(0) if stub.alert_statuses else 204
            stub.alerts.append((status, json.loads(body), self.headers.get("idempotency-key")))
            self._say(status, {})
            return
        if path.startswith("/webhook/"):  # n8n's
            self._say(200, {"echo": body.decode()})
            return
        form = {name: value[0] for name, value in parse_qs(body.decode()).items()}
        credentials = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if self.headers.get("authorization") != f"Basic {credentials}":
            self._say(401, {"error": "invalid_client"})
        elif path == "/revoke":
            stub.revoked.append(form.get("token"))
            stub.valid.pop(form.get("token"), None)
            self._say(200, {})
        elif form.get("grant_type") == "authorization_code":
            if not (stub.exchange_faults and self._fault(stub, stub.exchange_faults.pop(0), form)):
                self._say(*stub.exchange(form))
        else:
            self._refresh(stub, form)

    def _refresh(self, stub, form):
        when, what = stub.faults.pop(0) if stub.faults else ("", None)
        if when == "before" and self._fault(stub, what, form):
            return
        status, said = stub.refresh(form)
        if when == "after" and self._fault(stub, what, form):
            return
        self._say(status, said)

    def _fault(self, stub, what, form):
        stub.entered.set()
        if isinstance(what, float):
            time.sleep(what)
            return False
        if what == "wait":
            assert stub.release.wait(300)
            return False
        if what == "hang":
            stub.stopping.wait(300)
            self.close_connection = True
        elif what == "drop":
            self.close_connection = True
        elif what == "garbage":
            self._raw(200, b"<html>\xff not json")
        elif isinstance(what, tuple):  # a status, and everything that was sent in the answer
            self._say(what[0], {"error": json.dumps(form), "error_description": self.headers["authorization"], **form})
        elif what == "html":
            self._raw(502, b"<html>bad gateway</html>")
        else:
            self._say(what, {"error": "server_error"})
        return True

    def _say(self, status, said):
        self._raw(status, json.dumps(said).encode())

    def _raw(self, status, data):
        with contextlib.suppress(ConnectionError):
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, *_):
        return


@contextlib.contextmanager
def running(stub):
    """Serve until the end of the block; yields the port."""
    server = _Server(("127.0.0.1", 0), _Handler)
    server.stub = stub
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        stub.stopping.set()
        stub.release.set()
        server.shutdown()
        server.server_close()
        thread.join(60)


def entry(port):
    """The stub as an entry of providers.yaml, which is all that a provider needs."""
    base = f"http://127.0.0.1:{port}"
    return f"""
stub:
  name: Stub
  docs: https://stub.example
  authorization_url: {base}/authorize
  issuer: {base}
  token_url: {base}/token
  token_authentication: basic
  default_scopes: [one]
  rotates: true
  account: account.name
  revocation: {{url: "{base}/revoke", token: refresh, authentication: basic}}
"""
