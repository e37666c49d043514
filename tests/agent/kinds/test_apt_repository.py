"""The agent's half of `apt_repository`, in a directory of its own, with keys from a loopback server."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import msgspec
import pytest

from otobotctl.agent import fetch, openpgp
from otobotctl.agent.kinds import apt_repository
from otobotctl.agent.run import Run, StepError
from otobotctl.plan.kinds.apt_repository import AptRepositorySpec

KEYS = Path(__file__).parent / "keys"
ED25519 = "8C9EC07BB4622B3C63309D2619A6D958C28B35BC"
LONG = "D975ECC360B71749B764DCD2DD1A12D75B23477B"
EXPIRED = "626AAE2E818F365972220244B2C7AF73F476069E"


class Server(http.server.ThreadingHTTPServer):
    def __init__(self):
        self.asked = []
        self.serve = ""
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        path = KEYS / f"{self.server.serve}.asc"
        self.send_response(200 if path.exists() else 404)
        self.end_headers()
        if path.exists():
            self.wfile.write(path.read_bytes())

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    """Serves the key file named by `.serve`, and counts."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(autouse=True)
def etc(tmp_path, monkeypatch):
    """An /etc of its own: a Debian trixie; and no waiting between tries."""
    (tmp_path / "os-release").write_text('PRETTY_NAME="Debian"\nVERSION_CODENAME=trixie\nID=debian\n')
    monkeypatch.setattr(apt_repository, "OS_RELEASE", str(tmp_path / "os-release"))
    monkeypatch.setattr(apt_repository, "SOURCES_DIR", str(tmp_path / "sources.list.d"))
    monkeypatch.setattr(apt_repository, "KEYRINGS_DIR", str(tmp_path / "keyrings"))
    monkeypatch.setattr(fetch, "TRIES", 1)
    return tmp_path


def by_text(name="ed25519", **more):
    text = (KEYS / f"{name}.asc").read_text()
    return AptRepositorySpec(name="otobot", uris=("https://apt.test/{id}",), components=("stable",), key=text, **more)


def by_url(server, fingerprint):
    url = f"http://127.0.0.1:{server.server_address[1]}/{{id}}/gpg"
    return AptRepositorySpec(
        name="otobot", uris=("https://apt.test",), components=("stable",), key_url=url, fingerprint=fingerprint
    )


def converge(wanted):
    apt_repository.apply(msgspec.json.decode(msgspec.json.encode(wanted.wire())), Run(lambda line: None))
    return wanted.compare(apt_repository.probe(wanted.question()))


@pytest.mark.parametrize("name", ["ed25519", "long", "both"])
def test_a_given_key(etc, name):
    """Keyring and sources are there, readable by apt's own user; a second time nothing differs."""
    wanted = by_text(name)
    assert [change.what for change in wanted.compare(apt_repository.probe(wanted.question()))] == ["key", "sources"]
    assert converge(wanted) == ()
    assert converge(wanted) == ()
    sources = etc / "sources.list.d/otobot.sources"
    assert sources.read_text() == (
        "Types: deb\nURIs: https://apt.test/debian\nSuites: trixie\nComponents: stable\n"
        "Signed-By: /etc/apt/keyrings/otobot.gpg\n"
    )
    for path in (sources, etc / "keyrings/otobot.gpg"):
        assert path.stat().st_mode & 0o777 == 0o644


def test_a_fetched_key(server):
    """Fetched once; a second apply does not ask again."""
    server.serve = "long"
    wanted = by_url(server, LONG)
    assert converge(wanted) == ()
    assert converge(wanted) == ()
    assert server.asked == ["/debian/gpg"]


def test_only_the_wanted_key_of_a_fetched_file_is_trusted(server):
    """Another key in the same file stays out of the keyring."""
    server.serve = "both"
    assert converge(by_url(server, LONG)) == ()
    facts = apt_repository.probe({"name": "otobot"})
    assert facts["fingerprints"] == [LONG]


@pytest.mark.parametrize("gpg", [True, False])
def test_another_key_is_not_trusted(server, etc, monkeypatch, gpg):
    """With or without gpg on the host, nothing at all is written."""
    if not gpg:
        monkeypatch.setenv("PATH", str(etc))
    server.serve = "ed25519"
    with pytest.raises(StepError, match=f"does not hold the key {LONG}"):
        converge(by_url(server, LONG))
    assert not (etc / "keyrings").exists()
    assert not (etc / "sources.list.d").exists()


def test_without_gpg_the_parser_alone_decides(server, etc, monkeypatch):
    """A bare host has no gpg; the key is checked all the same."""
    monkeypatch.setenv("PATH", str(etc))
    server.serve = "long"
    assert converge(by_url(server, LONG)) == ()


def test_where_gpg_disagrees_nothing_is_trusted(etc, monkeypatch):
    """A gpg that sees another key in the same bytes stops the step."""
    (etc / "gpg").write_text("#!/bin/sh\necho pub:\necho fpr:::::::::0000:\n")
    (etc / "gpg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{etc}:/usr/bin:/bin")
    monkeypatch.setattr("otobotctl.agent.shell.PATH", f"{etc}:/usr/bin:/bin", raising=False)
    monkeypatch.setattr("otobotctl.agent.run.PATH", f"{etc}:/usr/bin:/bin", raising=False)
    with pytest.raises(StepError, match="gpg sees other keys"):
        converge(by_text())
    assert not (etc / "keyrings").exists()


def test_an_expired_key_is_noticed_and_fetched_anew(server, etc):
    """One that expired on the host is a difference; when the owner's renewed one is fetched it is gone."""
    (etc / "keyrings").mkdir()
    (etc / "keyrings/otobot.gpg").write_bytes(openpgp.dearmour((KEYS / "expired.asc").read_bytes()))
    wanted = by_url(server, EXPIRED)
    (change, _) = wanted.compare(apt_repository.probe(wanted.question()))
    assert change.before == f"expired: {EXPIRED}"
    server.serve = "expired"
    with pytest.raises(StepError, match="expired on 2020-12-31"):
        converge(wanted)
    assert server.asked == ["/debian/gpg"]


def test_a_given_key_that_has_expired_is_refused():
    """Such a repository would be refused anyway, with fewer words."""
    with pytest.raises(StepError, match="ask its owner for the renewed one"):
        converge(by_text("expired"))


def test_a_fingerprint_beside_a_given_key_is_checked():
    """The given key must be that one and no other."""
    assert converge(by_text("long", fingerprint=LONG.lower())) == ()
    for name in ("ed25519", "both"):
        with pytest.raises(StepError, match="nothing was trusted"):
            converge(by_text(name, fingerprint=LONG))


def test_a_download_that_fails_says_what_to_do(server):
    """The status is told, and the way without a network."""
    server.serve = "nothing"
    with pytest.raises(StepError, match="HTTP status 404; check the host's network, or put the key itself"):
        converge(by_url(server, LONG))


def test_a_changed_file_is_put_right(etc):
    """A hand-made change of the sources shows as a diff and is undone."""
    wanted = by_text()
    assert converge(wanted) == ()
    path = etc / "sources.list.d/otobot.sources"
    path.write_text(path.read_text().replace("stable", "edge"))
    (change,) = wanted.compare(apt_repository.probe(wanted.question()))
    assert "-Components: edge\n+Components: stable" in change.diff
    assert converge(wanted) == ()


def test_a_damaged_keyring_is_replaced(etc):
    """What no longer parses has no fingerprint."""
    wanted = by_text()
    assert converge(wanted) == ()
    (etc / "keyrings/otobot.gpg").write_bytes(b"\x00")
    assert [change.what for change in wanted.compare(apt_repository.probe(wanted.question()))] == ["key"]
    assert converge(wanted) == ()


def test_absent(etc):
    """Both files go; a second time is nothing to do."""
    assert converge(by_text()) == ()
    wanted = AptRepositorySpec(name="otobot", state="absent")
    assert wanted.compare(apt_repository.probe(wanted.question())) != ()
    assert converge(wanted) == ()
    assert converge(wanted) == ()
    assert list((etc / "keyrings").iterdir()) == []


def test_a_host_without_a_codename_says_so(etc):
    """Debian unstable has none: the suite must be written out."""
    (etc / "os-release").write_text("ID=debian\n")
    with pytest.raises(StepError, match="does not say the codename"):
        converge(by_text())
