"""What the host's timer runs: when the authority is asked, and when it is left alone."""

import os
import shutil
import subprocess
import time

import pytest

from tests.plan.test_playbook import vps


class Script:
    """The script of the playbook with the host's places below a folder, and a docker that only notes that it ran."""

    def __init__(self, place):
        self.place, self.calls = place, place / "calls"
        text = vps()["certificates/script"].content
        for path in ("/opt/otobot/front/current", "/var/lib/otobot", "/etc/otobot", "/run"):
            (place / path[1:]).mkdir(parents=True)
            text = text.replace(path, str(place / path[1:]))
        (place / "script").write_text(text)
        (place / "docker").write_text(f'#!/bin/sh\necho "$@" >> {self.calls}\ntest ! -e {place}/fails\n')
        (place / "docker").chmod(0o755)
        self.front = place / "opt/otobot/front/current"
        (self.front / "acme/ca").mkdir(parents=True)
        (self.front / "acme/ca/acme.pem").write_text("\n")
        self.names("acme.example")
        self.certificate(90)

    def names(self, names):
        """Another list of certificates."""
        (self.front / "acme/certificates.txt").write_text(f"\nacme.example acme it@x https://a/d {names}\n")

    def certificate(self, days, *, issued=True):
        """The certificate that is there, and that Certbot has, if it was `issued`."""
        folder, live = (self.place / f"etc/otobot/{each}/acme.example" for each in ("tls", "letsencrypt/live"))
        for each in (folder, live):
            each.mkdir(parents=True, exist_ok=True)
        words = ("-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=x")
        out = ("-days", str(days), "-keyout", "/dev/null", "-out", str(folder / "fullchain.pem"))
        subprocess.run(["openssl", "req", *words, *out], check=True, capture_output=True, timeout=60)
        if issued:
            shutil.copy(folder / "fullchain.pem", live)

    def fails(self, *, now=True):
        """Certbot gets nothing from now on, or does again."""
        (self.place / "fails").touch() if now else (self.place / "fails").unlink()

    def later(self, hours):
        """Let the time pass."""
        state, then = self.place / "var/lib/otobot/certificates", time.time() - hours * 3600
        os.utime(state, (then, then))

    def run(self, *words):
        """Exit status, whether Certbot was started, and what was said."""
        before = self.asked()
        env = {"PATH": f"{self.place}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["sh", self.place / "script", *words], env=env, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, self.asked() > before, done.stdout + done.stderr

    def asked(self):
        """How often Certbot was started."""
        return self.calls.read_text().count("run --rm") if self.calls.exists() else 0


@pytest.fixture
def script(tmp_path):
    """A host before its first certificate."""
    return Script(tmp_path)


def test_a_deploy_asks_once_and_never_fails(script):
    """What it asked for in vain is told and is not asked for by the next apply; other names are."""
    assert script.run("asked")[0] != 0
    script.fails()
    status, asked, said = script.run("first")
    assert (status, asked) == (0, True)
    assert said.startswith("warning: ")
    assert script.run("asked")[0] == 0
    script.names("acme.example,n8n.acme.example")
    assert script.run("asked")[0] != 0


def test_the_timer_asks_every_hour_while_one_is_missing_and_then_twice_a_day(script):
    """After a failure at once; after a success not before half a day."""
    script.fails()
    assert script.run()[:2] == (1, True)
    assert script.run()[:2] == (1, True)
    script.fails(now=False)
    assert script.run()[:2] == (0, True)
    assert script.run()[:2] == (0, False)
    script.later(hours=11)
    assert script.run()[:2] == (0, False)
    script.later(hours=12)
    assert script.run()[:2] == (0, True)


@pytest.mark.parametrize(("days", "asks"), [(15, False), (13, True)])
def test_what_ends_within_two_weeks_is_asked_for_every_hour(script, days, asks):
    """Certificates that live for hours or days are renewed in time; those of months are not asked for all day."""
    script.run("now")
    script.certificate(days)
    assert script.run()[:2] == (0, asks)


def test_one_that_is_served_and_was_not_issued_is_asked_for_at_the_next_hour(script):
    """Such as what stands in, for ten years, for half a pair that a power cut has left."""
    script.run("now")
    assert script.run()[:2] == (0, False)
    script.certificate(3650, issued=False)
    assert script.run()[:2] == (0, True)


def test_an_operator_can_ask_at_any_time(script):
    """`now` asks although nothing is due; it fails as Certbot does."""
    script.run("now")
    assert script.run("now")[:2] == (0, True)
    script.fails()
    assert script.run("now")[0] == 1


def test_other_names_or_another_authority_are_asked_for_at_the_next_hour(script):
    """What was well was another list."""
    script.run("now")
    script.names("acme.example,chat.acme.example")
    assert script.run()[:2] == (0, True)
    (script.front / "acme/ca/acme.pem").write_text("another root\n")
    assert script.run()[:2] == (0, True)
