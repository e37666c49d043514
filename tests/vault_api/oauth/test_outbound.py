"""The way out: where it does not go, what it does not follow, and how its errors look."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import gzip
import socket
import ssl
import threading
from urllib.parse import urlsplit

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from otobotctl.vault_api.oauth import addresses, outbound
from otobotctl.vault_api.oauth.outbound import Fault, Outbound, OutboundError, Request

INNER = [
    "0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "127.0.0.1", "127.1.2.3", "169.254.169.254", "169.254.170.2",
    "172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
    "224.0.0.1", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:8.8.8.8", "::ffff:0:7f00:1", "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "100::1", "2001::1", "2001:0:7f00:1::", "2001:db8::1", "2002:7f00:1::",
    "2002:808:808::1", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1",
    "2a00:1450:4007:80c::200e%eth0", "", "x", "1.1.1", "0x7f000001", "2130706433",
]  # fmt: skip


@pytest.mark.parametrize("address", INNER)
def test_an_inner_address_is_not_public(address):
    """Private, loopback, link-local, metadata, reserved, and each way of writing or embedding one."""
    assert not addresses.public(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4007:80c::200e", "64:ff9b::808:808"]
)
def test_a_public_address_is(address):
    """What providers live at."""
    assert addresses.public(address)


@given(st.ip_addresses(v=4), st.sampled_from(["::ffff:{}", "::{}", "2002:{hex}::1", "64:ff9b::{}", "64:ff9b:1::{}"]))
def test_an_inner_ipv4_is_inner_however_it_is_wrapped(address, form):
    """No IPv6 form of an IPv4 address is public unless the address is; tunnels never are."""
    number = int(address)
    text = form.format(str(address), hex=f"{number >> 16:x}:{number & 0xFFFF:x}")
    if addresses.public(text):
        assert form.startswith("64:ff9b::")
        assert address.is_global


@given(st.ip_addresses())
def test_only_global_addresses_are_public(address):
    """Nothing that the registry does not call global passes."""
    if addresses.public(str(address)):
        assert address.is_global
        assert not (address.is_private or address.is_loopback or address.is_link_local or address.is_multicast)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com", "//example.com", "example.com",
        "https://", "https:///x", "https://user@example.com/", "https://user:pw@example.com/", "https://@example.com/",
        "https://example.com:22/", "https://example.com:8443/", "https://example.com:99999/", "https://exa mple.com/",
        "https://example.com\\@evil.example/", "https://example.com/\n", "https://ex\u00e4mple.com/", "https://example.com%2f@x/",
        "https://-x.example/", "https://a..b/", "javascript:alert(1)", "https://[::1", "https://example.com/{x}", "",
    ],
)  # fmt: skip
def test_an_address_that_is_not_plain_https_is_refused(url):
    """Other schemes, users, ports and anything that two parsers could read in two ways."""
    with pytest.raises(OutboundError) as caught:
        outbound.target(url)
    assert caught.value.fault is Fault.REFUSED


@given(
    st.text(max_size=60)
    | st.text(alphabet="https:/@[].%\\#?:127localhost0x", max_size=40).map(lambda s: "https://" + s)
)
def test_no_text_passes_with_another_host_than_it_says(url):
    """Whatever passes has a host of plain characters, the port of TLS, and no user."""
    try:
        host, port, secure = outbound.target(url)
    except OutboundError as error:
        assert error.fault is Fault.REFUSED
        return
    assert (port, secure) == (443, True)
    assert urlsplit(url).hostname.rstrip(".") == host
    assert host.isascii()


def send(url, *, allow=frozenset(), tls=None, **limits):
    async def once():
        door = Outbound(allow, tls=tls)
        try:
            return await door.send(Request("GET", url), **limits)
        finally:
            await door.close()

    return asyncio.run(once())


def fault(url, **named):
    with pytest.raises(OutboundError) as caught:
        send(url, **named)
    assert str(caught.value) == caught.value.fault.value
    assert caught.value.__cause__ is None
    return caught.value.fault


@pytest.mark.parametrize(
    "url",
    ["https://localhost/", "https://127.0.0.1/", "https://0.0.0.0/", "https://[::1]/", "https://[::ffff:127.0.0.1]/",
     "https://169.254.169.254/latest/meta-data/", "https://2130706433/", "https://0x7f.1/", "https://127.1/", "https://10.0.0.1/"],
)  # fmt: skip
def test_a_name_of_an_inner_address_is_refused_before_a_connection(url, monkeypatch):
    """Literal or resolved, in whatever notation: no connection is made."""
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("connected"))
    assert fault(url) in {Fault.REFUSED, Fault.UNRESOLVED}


def test_a_name_with_one_inner_address_among_public_ones_is_refused(monkeypatch):
    """A resolver that mixes them (rebinding) gets nothing."""

    async def mixed(_self, _host, port, **_):
        return [(2, 1, 6, "", ("8.8.8.8", port)), (2, 1, 6, "", ("127.0.0.1", port))]

    monkeypatch.setattr(asyncio.base_events.BaseEventLoop, "getaddrinfo", mixed)
    assert fault("https://mixed.example/") is Fault.REFUSED


@contextlib.contextmanager
def answering(raw, *, tls=None, hang=False):
    """A loopback server that gives these bytes to every connection; yields its port and what it was asked."""
    asked = []
    ready = threading.Event()
    box = {}

    async def client(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            asked.append(await reader.readuntil(b"\r\n\r\n"))
            if hang:
                await box["stop"].wait()
            writer.write(raw)
            await writer.drain()
        writer.close()

    async def main():
        box["stop"] = asyncio.Event()
        box["loop"] = asyncio.get_running_loop()
        server = await asyncio.start_server(client, "127.0.0.1", 0, ssl=tls)
        box["port"] = server.sockets[0].getsockname()[1]
        ready.set()
        await box["stop"].wait()
        server.close()

    thread = threading.Thread(target=asyncio.run, args=(main(),), daemon=True)
    thread.start()
    assert ready.wait(60)
    try:
        yield box["port"], asked
    finally:
        box["loop"].call_soon_threadsafe(box["stop"].set)
        thread.join(60)


def allowed(port, host="127.0.0.1"):
    return frozenset({f"{host}:{port}"})


OK = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"


def test_an_allowed_inner_host_answers():
    """An explicit host and port may be plain HTTP on loopback; another port of the same host may not."""
    with answering(OK) as (port, asked):
        got = send(f"http://127.0.0.1:{port}/x?y=1", allow=allowed(port))
        assert (got.status, got.body) == (200, b"{}")
        assert asked[0].startswith(b"GET /x?y=1 HTTP/1.1\r\n")
        assert fault(f"http://127.0.0.1:{port}/", allow=allowed(port + 1)) is Fault.REFUSED


def test_a_redirect_is_an_answer():
    """302 to somewhere is handed back, not followed, and its address is not shown."""
    raw = b"HTTP/1.1 302 Found\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n"
    with answering(raw) as (port, asked):
        got = send(f"http://127.0.0.1:{port}/", allow=allowed(port))
    assert (got.status, dict(got.headers), len(asked)) == (302, {}, 1)


def test_a_proxy_of_the_environment_is_not_used(monkeypatch):
    """HTTP_PROXY and its kin change nothing."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with answering(OK) as (port, _):
        assert send(f"http://127.0.0.1:{port}/", allow=allowed(port)).status == 200


def test_an_answer_without_end_is_cut():
    """By bytes, announced or not; by time; and an answer that could unpack is not unpacked."""
    with answering(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 100_000) as (port, _):
        assert fault(f"http://127.0.0.1:{port}/", allow=allowed(port), most_bytes=50_000) is Fault.TOO_LARGE
    with answering(b"", hang=True) as (port, _):
        assert fault(f"http://127.0.0.1:{port}/", allow=allowed(port), total_s=0.3) is Fault.TIMEOUT
    packed = gzip.compress(b"0" * 1_000_000)
    raw = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n%b" % (len(packed), packed)
    with answering(raw) as (port, asked):
        assert fault(f"http://127.0.0.1:{port}/", allow=allowed(port)) is Fault.BROKEN
    assert b"accept-encoding: identity" in asked[0].lower()


def test_faults_say_whether_the_other_side_may_have_acted():
    """A closed port was not reached; a broken answer may have been acted on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    refused = fault(f"http://127.0.0.1:{port}/", allow=allowed(port))
    assert (refused, refused.unsent) == (Fault.UNREACHABLE, True)
    with answering(b"SSH-2.0-x\r\n") as (port, _):
        broken = fault(f"http://127.0.0.1:{port}/", allow=allowed(port))
    assert (broken, broken.unsent) == (Fault.BROKEN, False)
    assert fault("https://no-such-host.invalid/").unsent


def test_what_no_header_can_carry_is_not_sent():
    """A secret with an accent, pasted as an application's: a fault like the others, so that a disconnect goes on."""
    with answering(b"") as (port, _):
        url = f"http://127.0.0.1:{port}/"

        async def send():
            outbound = Outbound(allowed(port))
            try:
                await outbound.send(Request("POST", url, {"authorization": "Bearer s\u00e9cret"}))
            finally:
                await outbound.close()

        with pytest.raises(OutboundError) as caught:
            asyncio.run(send())
    assert caught.value.fault.unsent


def certificate(name, directory):
    """A self-signed certificate for one name, as contexts of the server and of a client that trusts it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = directory / "pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    pem.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(pem)
    client = ssl.create_default_context(cafile=str(pem))
    return server, client


def test_tls_verifies_the_name_although_the_address_is_pinned(tmp_path):
    """The connection goes to the address, the certificate must be the name's: localhost passes, another name does not."""
    server, client = certificate("localhost", tmp_path)
    with answering(OK, tls=server) as (port, asked):
        assert send(f"https://localhost:{port}/", allow=allowed(port, "localhost"), tls=client).status == 200
        assert f"host: localhost:{port}".encode() in asked[0].lower()
        assert fault(f"https://127.0.0.1:{port}/", allow=allowed(port), tls=client) is Fault.UNTRUSTED
        assert fault(f"https://localhost:{port}/", allow=allowed(port, "localhost")) is Fault.UNTRUSTED


def test_nothing_that_was_sent_or_answered_shows():
    """Neither a request's address and body nor an answer's body is in a repr."""
    shown = repr(Request("POST", "https://x/?code=SECRET", {"authorization": "SECRET"}, b"SECRET"))
    assert "SECRET" not in shown
    assert "SECRET" not in repr(outbound.Response(200, {}, b"SECRET"))
