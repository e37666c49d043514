"""What a scanner would find: the rendered proxies speak what Mozilla's profiles allow, and nothing else."""

import re
import socket
import ssl
import subprocess
from contextlib import contextmanager

import httpx
import pytest

from tests.render import hello, test_caddy, test_nginx
from tests.render.hello import SSL3, TLS10, TLS11, TLS12, TLS13, ask
from tests.render.sample import EVERYTHING, resolved
from tests.render.test_caddy import caddy  # noqa: F401 - a fixture
from tests.render.test_names import upstream  # noqa: F401 - a fixture
from tests.render.test_nginx import folder, nginx  # noqa: F401 - fixtures

# Mozilla's guideline 6.0: the suites of "intermediate" by the kind of key, and those of TLS 1.3.
INTERMEDIATE = {
    "ec": {0xC02B: "ECDHE-ECDSA-AES128-GCM-SHA256", 0xC02C: "…AES256-GCM-SHA384", 0xCCA9: "…CHACHA20-POLY1305"},
    "rsa": {0xC02F: "ECDHE-RSA-AES128-GCM-SHA256", 0xC030: "…AES256-GCM-SHA384", 0xCCA8: "…CHACHA20-POLY1305"},
}
NEWEST = {0x1301, 0x1302, 0x1303}
# Every number that a suite has ever had: NULL, export, RC4, DES, 3DES, CBC, DHE, PSK, GOST, Camellia, ARIA, CCM...
EVERY = (*range(0x0001, 0x0100), *range(0x1300, 0x1308), *range(0xC001, 0xC0B6), *range(0xCCA0, 0xCCB0), 0xFEFE, 0xFEFF)
KEYS = {"ec": ["ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"], "rsa": ["rsa:2048"]}


@contextmanager
def serving(request, proxy, place, key="ec", profile="intermediate", places=None, tls="acme"):
    """Both ports of this proxy with the sample's clients, on a certificate with this kind of key."""
    program = request.getfixturevalue(proxy)

    def change(document):
        shared = {"tls": profile, "ipv6": False}
        if proxy == "nginx":
            shared["version"] = program[1]
        document.update(defaults={"services": [*EVERYTHING, proxy], "settings": {proxy: shared}})
        document["clients"]["acme"]["tls"] = tls if proxy == "nginx" else "self-signed"

    serve = test_nginx.served if proxy == "nginx" else test_caddy.served
    with serve(program[0] if proxy == "nginx" else program, place, resolved(change), places) as ports:
        yield ports


@pytest.fixture(params=[(proxy, key) for proxy in ("nginx", "caddy") for key in KEYS], ids="-".join)
def intermediate(request, folder, monkeypatch):  # noqa: F811
    """A proxy with the profile that is the default; gives (which proxy, the kind of key, the port of HTTPS)."""
    proxy, key = request.param
    with certified(monkeypatch, key), serving(request, proxy, folder, key) as (_, port):
        yield proxy, key, port


@contextmanager
def certified(monkeypatch, key):
    """Let the layouts have certificates of this kind of key."""

    def certificate(place, domain):
        where = place / "tls" / domain
        where.mkdir(parents=True)
        argv = ["openssl", "req", "-x509", "-newkey", *KEYS[key], "-nodes", "-days", "9", "-subj", "/CN=test"]
        names = f"subjectAltName=DNS:{domain},DNS:*.{domain}"
        files = ["-keyout", where / "privkey.pem", "-out", where / "fullchain.pem"]
        subprocess.run([*argv, "-addext", names, *files], check=True, capture_output=True)

    monkeypatch.setattr(test_nginx, "certificate", certificate)
    monkeypatch.setattr(test_caddy, "certificate", certificate)
    yield


def accepted(port, version, suites=EVERY):
    """Which of these suites, offered alone, the server takes for this version."""
    found = {suite: ask(port, "n8n.acme.example", (suite,), version) for suite in suites}
    assert all(answer.suite == suite for suite, answer in found.items() if answer)
    return {suite for suite, answer in found.items() if answer and answer.version == version}


def test_every_suite_there_has_ever_been(intermediate):
    """Offered one by one, exactly Mozilla's are taken: ECDHE with AEAD; no CBC, RSA exchange, 3DES, RC4, NULL, export."""
    _, key, port = intermediate
    assert accepted(port, TLS12) == {*INTERMEDIATE[key]}
    assert accepted(port, TLS13) == NEWEST


def test_old_versions_are_refused(intermediate):
    """SSL 3, TLS 1.0 and 1.1 get no answer, whatever they offer; 1.2 and 1.3 do."""
    _, key, port = intermediate
    offer = (*INTERMEDIATE[key], 0xC013, 0xC009, 0x002F, 0x0035, 0x000A, 0x0005)
    for version in (SSL3, TLS10, TLS11):
        assert ask(port, "acme.example", offer, version) is None
    assert ask(port, "acme.example", offer, TLS12).version == TLS12
    assert ask(port, "acme.example", (*NEWEST, *offer), TLS13).version == TLS13


def test_curves(intermediate):
    """X25519, P-256 and P-384 and no weaker one; a server may leave some of them out."""
    proxy, key, port = intermediate
    suites = tuple(INTERMEDIATE[key])
    taken = {name for name, number in hello.GROUPS.items() if ask(port, "acme.example", suites, groups=(number,))}
    # An ECDSA key of P-256 wants that curve among those offered, for its signature.
    assert taken - {"secp521r1"} <= {"x25519", "secp256r1", "secp384r1"}
    assert "secp521r1" not in taken or proxy == "caddy"
    both = {
        name
        for name, number in hello.GROUPS.items()
        if ask(port, "acme.example", suites, groups=(number, 23)) is not None
    }
    assert both == {*hello.GROUPS}


def test_no_compression_and_secure_renegotiation(intermediate):
    """Compression (CRIME) is not taken where it is offered; who can renegotiate securely is told so."""
    _, key, port = intermediate
    answer = ask(port, "acme.example", tuple(INTERMEDIATE[key]), compressions=(1, 0))
    assert answer is None or answer.compression == 0
    plain = ask(port, "acme.example", tuple(INTERMEDIATE[key]))
    assert plain.compression == 0
    assert 0xFF01 in plain.extensions


def test_a_client_cannot_renegotiate(intermediate):
    """Asked for another handshake in the middle, the server ends the connection or goes on without one."""
    _, _, port = intermediate
    argv = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-servername", "acme.example", "-tls1_2"]
    done = subprocess.run(argv, input=b"R\n", capture_output=True, check=False, timeout=120)
    said = done.stdout + done.stderr
    assert b"RENEGOTIATING" in said
    assert re.search(rb"no renegotiation|alert|unexpected eof|error", said[said.index(b"RENEGOTIATING") :])


@pytest.mark.parametrize("proxy", ["nginx", "caddy"])
def test_the_modern_profile_is_tls_13_alone(request, proxy, folder):  # noqa: F811
    """`tls: modern` answers TLS 1.3, and 1.2 with any suite not at all."""
    with serving(request, proxy, folder, profile="modern") as (_, port):
        assert accepted(port, TLS13) == NEWEST
        assert accepted(port, TLS12) == set()


def exchange(port, request, name="acme.example"):
    """The whole answer to a raw request over TLS."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with (
        socket.create_connection(("127.0.0.1", port), timeout=60) as plain,
        context.wrap_socket(plain, server_hostname=name) as line,
    ):
        line.sendall(request)
        answer = b""
        while more := line.recv(65536):
            answer += more
            if b"\r\n\r\n" in answer and b"413" in answer[:16]:
                break
    return answer


def asking(path, name="acme.example", **headers):
    """A GET, or with a length the beginning of a POST."""
    lines = [
        f"{'POST' if 'Content_Length' in headers else 'GET'} {path} HTTP/1.1",
        f"Host: {name}",
        "Connection: close",
    ]
    lines += [f"{key.replace('_', '-')}: {value}" for key, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


@pytest.mark.parametrize("tls", ["acme", "self-signed"])
def test_headers_are_on_every_answer(request, folder, tls):  # noqa: F811
    """HSTS where a certificate that browsers know is promised, also on errors; the others always; never a version."""
    with serving(request, "nginx", folder, tls=tls) as (plain, port):
        answers = {
            200: exchange(port, asking("/")),
            404: exchange(port, asking("/metrics", "n8n.acme.example"), "n8n.acme.example"),
            502: exchange(port, asking("/health")),
            413: exchange(port, asking("/health", Content_Length=21 << 20)),
        }
        for status, answer in answers.items():
            head = answer.partition(b"\r\n\r\n")[0].lower()
            assert head.startswith(f"http/1.1 {status}".encode())
            assert (b"strict-transport-security: max-age=63072000" in head) == (tls == "acme")
            assert b"x-content-type-options: nosniff" in head
            assert b"x-frame-options: sameorigin" in head
        answers[400] = exchange(port, b"nonsense\r\n\r\n")
        answers["plain"] = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False).content
        answers[301] = repr(
            httpx.get(f"http://127.0.0.1:{plain}/", headers={"Host": "acme.example"}, trust_env=False).headers
        ).encode()
        for answer in answers.values():
            assert not re.search(rb"nginx/|\d+\.\d+\.\d+|openssl|debian|x-powered-by", answer.lower()), answer


def test_bodies_have_a_limit_of_their_route(request, folder):  # noqa: F811
    """20 MB where nothing else is said, 50 MB for the chat; one byte more is 413 before it has been sent."""
    with serving(request, "nginx", folder) as (_, port):
        for name, path, limit in (("acme.example", "/health", 20 << 20), ("chat.acme.example", "/api/files", 50 << 20)):
            assert exchange(port, asking(path, name, Content_Length=limit + 1), name).startswith(b"HTTP/1.1 413")
            small = asking(path, name, Content_Length=3) + b"abc"
            assert exchange(port, small, name).startswith(b"HTTP/1.1 502")


def test_caddy_takes_no_more_than_the_limit(request, folder, upstream):  # noqa: F811
    """A body above the limit does not reach the service, and is no success."""
    places = {"reverse_proxy vault-api.acme:3001": f"reverse_proxy 127.0.0.1:{upstream}"}
    with serving(request, "caddy", folder, places=places) as (_, port):
        assert exchange(port, asking("/health")).startswith(b"HTTP/1.1 200")
        with httpx.Client(verify=False, trust_env=False, timeout=60) as client:
            answer = client.post(
                f"https://127.0.0.1:{port}/health",
                content=bytes((20 << 20) + 1),
                headers={"Host": "acme.example"},
                extensions={"sni_hostname": "acme.example"},
            )
            small = client.post(
                f"https://127.0.0.1:{port}/health",
                content=b"abc",
                headers={"Host": "acme.example"},
                extensions={"sni_hostname": "acme.example"},
            )
        assert answer.status_code in {413, 502}
        assert small.status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/", 200), ("/health", 502), ("/metrics", 404)])
def test_caddys_headers_are_on_its_errors_too(request, folder, path, status):  # noqa: F811
    """What it answers by itself has the headers, each once, and names no program."""
    name = "n8n.acme.example" if status == 404 else "acme.example"
    with serving(request, "caddy", folder) as (_, port):
        head = exchange(port, asking(path, name), name).partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(f"http/1.1 {status}".encode())
    assert head.count(b"x-content-type-options: nosniff") == head.count(b"x-frame-options: sameorigin") == 1
    assert b"server:" not in head
    assert b"caddy" not in head


def test_caddys_headers_replace_those_of_services(request, folder, upstream):  # noqa: F811
    """A service that sends one of them itself does not double it, and cannot name its program."""
    places = {"reverse_proxy vault-api.acme:3001": f"reverse_proxy 127.0.0.1:{upstream}"}
    with serving(request, "caddy", folder, places=places) as (_, port):
        head = exchange(port, asking("/health")).partition(b"\r\n\r\n")[0].lower()
    assert head.startswith(b"http/1.1 200")
    assert head.count(b"x-frame-options:") == 1
    assert b"x-frame-options: sameorigin" in head
    assert b"server:" not in head
