"""Docker's health check of n8n, on what each release answers while its database is not ready."""

from __future__ import annotations

import http.server
import shutil
import threading
from pathlib import Path

import pytest

from tests.lab.fixtures import unavailable
from tests.n8n import real

OK = (200, '{"status":"ok"}')
WAIT = (200, "n8n is starting up. Please wait")
AWAY = (503, '{"status":"error"}')
NONE = (404, "Cannot GET /healthz/readiness")


@pytest.mark.parametrize(
    ("live", "ready", "healthy"),
    [
        (OK, OK, True),
        (OK, AWAY, False),
        (OK, NONE, True),
        (OK, WAIT, False),
        (NONE, NONE, False),
        (AWAY, NONE, False),
    ],
    ids=["ready", "database-away", "older-ready", "older-migrating", "not-yet-listening", "older-worker-without-redis"],
)
def test_it_is_healthy_once_it_is_ready(live, ready, healthy):
    """Whoever waits for a healthy n8n, such as its workers, finds a migrated database."""
    node = shutil.which("node")
    if node is None:
        unavailable("node is not installed")
    answers = {"/healthz": live, "/healthz/readiness": ready}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body = answers[self.path]
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            assert real.healthy(Path(node), server.server_port) is healthy
        finally:
            server.shutdown()
