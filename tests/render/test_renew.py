"""What the certificates' container does with Certbot's answers; Certbot itself is run for real by the tests on hosts."""

import os
import subprocess

import pytest

from tests.render.sample import front, resolved, text

DIRECTORY = "https://acme-v02.api.letsencrypt.org/directory"
# Writes what it was asked and trusted, and answers as the test wants: a certificate, or words and 1.
CERTBOT = """#!/bin/sh
echo "$@ trusting ${REQUESTS_CA_BUNDLE:-everybody}" >> PLACE/calls
[ ! -e PLACE/refuses ] || { cat PLACE/refuses; exit 1; }
mkdir -p PLACE/etc/letsencrypt/live/acme.example PLACE/etc/letsencrypt/renewal
echo key > PLACE/etc/letsencrypt/live/acme.example/privkey.pem
cat PLACE/issued > PLACE/etc/letsencrypt/live/acme.example/fullchain.pem
"""


class Container:
    """The rendered script with the container's places below a folder."""

    def __init__(self, place):
        self.place = place
        script = text(front(resolved()), "acme/renew.sh")
        for path in ("/etc/letsencrypt", "/otobot", "/tls", "/srv/acme"):
            (place / path[1:]).mkdir(parents=True)
            script = script.replace(path, str(place / path[1:]))
        (place / "script").write_text(script.replace("/tmp/said", f"{place}/said"))
        (place / "certbot").write_text(CERTBOT.replace("PLACE", str(place)))
        (place / "certbot").chmod(0o755)
        (place / "issued").write_text("first\n")
        (place / "otobot/certificates.txt").write_text(text(front(resolved()), "acme/certificates.txt"))

    def run(self):
        """Exit status and what was said."""
        env = {"PATH": f"{self.place}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", self.place / "script"], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def calls(self):
        """How Certbot was called."""
        path = self.place / "calls"
        return path.read_text().splitlines() if path.exists() else []

    def served(self):
        """The certificate that nginx reads."""
        return (self.place / "tls/acme.example/fullchain.pem").read_text()

    def write(self, path, content):
        """A file below the folder."""
        (self.place / path).parent.mkdir(parents=True, exist_ok=True)
        (self.place / path).write_text(content)


@pytest.fixture
def container(tmp_path):
    """One that has never run."""
    return Container(tmp_path)


def test_what_was_issued_is_put_where_nginx_looks(container):
    """The key for its owner alone; a second run with the same certificate says and writes nothing."""
    assert container.run() == (0, "acme.example: a new certificate is in place\n")
    assert container.served() == "first\n"
    assert (container.place / "tls/acme.example/privkey.pem").stat().st_mode & 0o777 == 0o600
    assert container.run() == (0, "")
    asked = container.calls()[0]
    for words in (
        f"--server {DIRECTORY}",
        "--cert-name acme.example",
        "--domains acme.example",
        "--keep-until-expiring",
    ):
        assert words in asked
    assert "--force-renewal" not in asked
    assert asked.endswith("trusting everybody")


def test_a_key_that_the_power_cut_short_is_put_again(container):
    """Its certificate alone is the issued one: nginx would not start with the two."""
    container.run()
    container.write("tls/acme.example/privkey.pem", "")
    assert container.run() == (0, "acme.example: a new certificate is in place\n")
    assert (container.place / "tls/acme.example/privkey.pem").read_text() == "key\n"


def test_another_authority_is_asked_although_the_old_certificate_is_not_due(container):
    """From staging to production: Certbot alone would keep the old one until it ends."""
    container.write("etc/letsencrypt/renewal/acme.example.conf", "server = https://old.example/directory\n")
    container.run()
    container.write("etc/letsencrypt/renewal/acme.example.conf", f"server = {DIRECTORY}\n")
    container.run()
    assert ["--force-renewal" in call for call in container.calls()] == [True, False]


def test_an_authority_of_its_own_is_trusted_by_its_own_root(container):
    """An empty file, as it is rendered without acme_ca, is none."""
    container.write("otobot/ca/acme.pem", "root\n")
    container.run()
    assert container.calls()[0].endswith(f"trusting {container.place}/otobot/ca/acme.pem")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("Saving debug log to x\n\n  Type: dns\n  Detail: no such name\n\nAsk for help at y\n", "no such name"),
        ("An unexpected error occurred:\nValueError: refused\nAsk for help at y\n", "ValueError: refused"),
        ("Saving debug log to x\nNot finalized by the CA.\nAsk for help at y\n", "Not finalized by the CA."),
    ],
)
def test_a_refusal_is_told_with_its_reason(container, answer, why):
    """The first time there is none yet; later the one before is served on. The exit status is 1."""
    container.write("refuses", answer)
    status, said = container.run()
    assert status == 1
    assert said.endswith(f"warning: acme.example: there is no certificate by {DIRECTORY} yet: {why}\n")
    (container.place / "refuses").unlink()
    container.run()
    container.write("refuses", answer)
    status, said = container.run()
    assert (status, container.served()) == (1, "first\n")
    assert said.endswith(f"its certificate could not be renewed and is served on: {why}\n")


def test_a_second_lineage_is_an_error_and_is_not_asked_for_every_hour(container):
    """Certbot makes one beside settings that it cannot read; nginx would keep the old one, and the limits be used up."""
    container.write("etc/letsencrypt/renewal/acme.example-0001.conf", "")
    status, said = container.run()
    assert status == 1
    assert "acme.example-0001.conf means that renewal/acme.example.conf cannot be read" in said
    assert container.calls() == []
