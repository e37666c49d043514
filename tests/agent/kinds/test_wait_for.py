"""Waiting for real sockets on loopback."""

import http.server
import socket
import threading

import pytest

from otobotctl.agent.kinds import wait_for
from otobotctl.agent.run import Run, StepError


class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(302 if self.path == "/moved" else 200)
        self.send_header("Location", "/")
        self.end_headers()

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def server():
    """An HTTP server's port."""
    made = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield made.server_address[1]
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture
def closed():
    """A port nobody listens on: bound, not listening."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def ready(**params):
    return wait_for.probe({"host": "127.0.0.1", "status": 200, "timeout_s": 60, **params})["_ready"]


def test_a_port(server, closed):
    """Ready when it takes a connection."""
    assert ready(port=server)
    assert not ready(port=closed)


def test_a_page(server, closed):
    """Ready when it answers the expected status; a redirect is an answer of its own."""
    assert ready(url=f"http://127.0.0.1:{server}/a?b=c")
    assert ready(url=f"http://127.0.0.1:{server}/moved", status=302)
    assert not ready(url=f"http://127.0.0.1:{server}/moved")
    assert not ready(url=f"http://127.0.0.1:{closed}/")


def test_a_path_and_a_program(tmp_path):
    """Ready when it exists, when it ends with 0."""
    assert ready(path=str(tmp_path))
    assert not ready(path=str(tmp_path / "x"))
    assert ready(argv=["true"])
    assert not ready(argv=["false"])
    assert not ready(argv=["no-such-program-here"])


def test_apply_waits_until_it_is_there(tmp_path):
    """It looks again and again."""
    path = tmp_path / "late"
    timer = threading.Timer(0.3, path.touch)
    timer.start()
    said = []
    wait_for.apply({"path": str(path), "timeout_s": 120}, Run(said.append))
    timer.join()
    assert said == ["ready"]


def test_apply_gives_up_and_says_what_was_missing(closed):
    """The last trouble is in the message."""
    with pytest.raises(StepError, match=rf"not ready after 0.1 s: 127.0.0.1 port {closed}: Connection refused"):
        wait_for.apply({"port": closed, "host": "127.0.0.1", "timeout_s": 0.1}, Run(lambda line: None))
