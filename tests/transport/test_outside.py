"""Names, ports and TLS as anybody sees them; on this machine's loopback alone."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator

import pytest

from otobotctl.transport import outside


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate that signs itself."""
    folder = tmp_path_factory.mktemp("tls")
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 9 -subj /CN=acme.example"
    subprocess.run(
        [*words.split(), "-keyout", folder / "key", "-out", folder / "chain"], check=True, capture_output=True
    )
    return folder


@pytest.fixture
def served(certificate, monkeypatch) -> Iterator[int]:
    """TLS on a port of the loopback, in the place of 443."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "chain", certificate / "key")
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    connect = socket.create_connection
    monkeypatch.setattr(outside.socket, "create_connection", lambda where, *rest: connect((where[0], port), *rest))

    def serve() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            try:
                with context.wrap_socket(line, server_side=True):
                    pass
            except OSError:
                line.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield port
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join(10)


def test_a_certificate_that_nobody_signed_is_a_handshake_that_is_not_believed(served):
    """TLS comes about; this machine says why it does not believe it."""
    shown = outside.handshake("acme.example", "127.0.0.1")
    assert shown.error == ""
    assert "self-signed" in shown.distrust or "self signed" in shown.distrust


def test_what_speaks_no_tls_is_an_error():
    """And is told in the words of the library."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def hang_up() -> None:
            for _ in range(2):
                line, _ = server.accept()
                line.sendall(b"SSH-2.0-x\r\n")
                line.close()

        thread = threading.Thread(target=hang_up, daemon=True)
        thread.start()
        connect = socket.create_connection
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(outside.socket, "create_connection", lambda where, *rest: connect((where[0], port), *rest))
            assert outside.handshake("acme.example", "127.0.0.1").error


def test_ports_that_answer_and_that_do_not():
    """Each (address, port) once; one that is shut is no error."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        open_port = server.getsockname()[1]
        with socket.create_server(("127.0.0.1", 0)) as other:
            shut = other.getsockname()[1]
        asked = [("127.0.0.1", open_port), ("127.0.0.1", shut), ("127.0.0.1", open_port)]
        assert outside.ports(asked) == {("127.0.0.1", open_port): True, ("127.0.0.1", shut): False}


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ([(2, 1, 6, "", ("203.0.113.1", 0)), (10, 1, 6, "", ("2001:db8::1", 0, 0, 0))], ("203.0.113.1", "2001:db8::1")),
        (socket.gaierror(socket.EAI_NONAME, "no such name"), ()),
        (socket.gaierror(socket.EAI_AGAIN, "try again"), None),
    ],
)
def test_a_name_that_is_not_there_is_not_a_name_server_that_is_silent(monkeypatch, answer, found):
    """The first is the name's fault, the second is not."""

    def ask(*_args, **_kwargs):
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(outside.socket, "getaddrinfo", ask)
    assert outside.resolve(["acme.example"]) == {"acme.example": found}


def test_an_address_that_nobody_here_can_reach_is_not_tried():
    """One for all is; the loopback is beside us; a private network is where we have a place in it."""
    assert outside.near("2606:4700::1111")
    assert outside.near("127.0.0.1")
