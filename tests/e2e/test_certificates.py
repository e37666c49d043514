"""Certificates from a real ACME server: Caddy's own on the lab's network, and the real Certbot on the host."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import subprocess
import threading
import time
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import pytest

from tests.e2e import told
from tests.e2e.breaking import Patient
from tests.e2e.real_breaks import late_clock
from tests.e2e.test_client import eventually
from tests.e2e.ward import Ward
from tests.lab import images
from tests.lab.authority import NAME, Authority
from tests.lab.host import Host
from tests.lab.lab import Lab

DOMAIN, APP = "acme.example", "app.acme.example"
SITE = ["postgres", "nginx"]
# Only the name that ToolJet brings matters here, so what answers under it is busybox, and what would prepare it says
# that everything is as it should be.
PREPARED = r"""#!/bin/sh
ready=$(echo "$3" | grep -o '"name": *"[^"]*"' | sed 's/.*: *\("[^"]*"\)/\1: "ready"/' | tr '\n' ',')
echo "{\"items\": {${ready%,}}}"
"""
TOOLJET_IMAGE = """FROM {base}
RUN mkdir -p /www/api && echo ok > /www/api/health
RUN echo {node} | base64 -d > /usr/local/bin/node && chmod 755 /usr/local/bin/node
STOPSIGNAL SIGTERM
ENTRYPOINT ["sh", "-c", "exec busybox httpd -f -p 8082 -h /www"]
CMD []
"""


@dataclass
class Site:
    """One client on one host, and the authority that knows where its names are."""

    operator: Patient
    host: Host
    authority: Authority
    warned: list[str] = field(default_factory=list)

    def settings(self, services: list[str], proxy: str = "nginx", tls: str = "acme") -> None:
        """Write the client's entry by hand, as an operator does."""
        path = self.operator.fleet / "clients-config.json"
        manifest = json.loads(path.read_text())
        own = {"acme_directory": self.authority.directory, "acme_ca": self.authority.root()}
        manifest["clients"] = {
            "acme": {
                "company": "ACME SAS", "email": "it@acme.example", "host": "vps-1", "domain": DOMAIN, "index": 0,
                "services": services, "tls": tls, "settings": {proxy: own},
            }
        }  # fmt: skip
        path.write_text(json.dumps(manifest, indent=2) + "\n")

    def deploy(self) -> str:
        """Deploy the client; what was said on the way."""
        return self.operator.run("client", "deploy", "acme").stderr

    def root(self, command: str, *, check: bool = True) -> str:
        """What a command of root's says on the host."""
        return self.host.ssh(command, user="root", check=check, timeout_s=300).stdout

    def acme_status(self) -> tuple[dict, list[str]]:
        """The client in `status`, and what is to be looked at."""
        found = self.operator.data("status", "vps-1")["hosts"][0]
        return next(each for each in found["releases"] if each["client"] == "acme"), found["attention"]

    @property
    def ward(self) -> Ward:
        """What the doctor says of the host, to an operator whose machine believes the authority."""
        roots = self.operator.home / "roots.pem"
        roots.write_text(self.authority.root())
        self.operator.trusts = str(roots)
        return Ward(self.host, self.operator)

    def authority_is_down(self) -> contextlib.AbstractContextManager[None]:
        """No ACME server answers within the block."""

        @contextlib.contextmanager
        def down() -> Iterator[None]:
            self.authority.stop()
            try:
                yield
            finally:
                self.authority.start()

        return down()


@pytest.fixture(scope="module")
def site(lab: Lab, tmp_path_factory) -> Iterator[Site]:
    """A host with Docker, its authority, and a client that was deployed while nobody gave certificates."""
    host = lab.make("warm")
    authority = Authority(lab.slot)
    authority.names({DOMAIN: host.address, APP: host.address})
    try:
        authority.start()
        operator = Patient(tmp_path_factory.mktemp("operator"))
        operator.resolve(f"{host.address} {DOMAIN} {APP}")
        operator.init()
        operator.add_host("vps-1", host)
        found = Site(operator, host, authority)
        found.settings(SITE)
        named = {images.kind(reference): reference for reference in images.references()}
        image = TOOLJET_IMAGE.format(base=named["nginx"], node=b64encode(PREPARED.encode()).decode())
        host.ssh(f"docker build --tag {named['tooljet-ce']} -", input=image, user="root", timeout_s=300)
        with found.authority_is_down():
            found.warned = found.deploy().splitlines()
        yield found
    finally:
        authority.stop()
        lab.destroy(host)


def shown(host: Host, name: str = DOMAIN) -> dict[str, object]:
    """The certificate that a visitor of `name` gets: issuer, serial, names; by the machine's own openssl."""
    asked = ["openssl", "s_client", "-connect", f"{host.address}:443", "-servername", name]
    answer = subprocess.run(asked, input="", capture_output=True, text=True, timeout=60, check=False)
    if answer.returncode:
        raise OSError(answer.stderr)
    told = ["openssl", "x509", "-noout", "-issuer", "-serial", "-ext", "subjectAltName"]
    text = subprocess.run(told, input=answer.stdout, capture_output=True, text=True, timeout=60, check=True).stdout
    fields = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    names = {
        word.strip().removeprefix("DNS:") for line in text.splitlines() if "DNS:" in line for word in line.split(",")
    }
    return {"issuer": fields["issuer"], "serial": fields["serial"], "names": names}


def trusted(site: Site, name: str) -> bool:
    """Whether a visitor who trusts the authority alone, and checks the name, gets in."""
    context = ssl.create_default_context(cadata=site.authority.root())
    with (
        contextlib.suppress(ssl.SSLError),
        socket.create_connection((site.host.address, 443), 30) as raw,
        context.wrap_socket(raw, server_hostname=name),
    ):
        return True
    return False


def test_a_client_that_gets_no_certificate_yet_is_deployed_all_the_same(site):
    """The deploy ends well and says why; a certificate that signs itself is served, and status calls it missing."""
    warnings = [line for line in site.warned if line.startswith("warning: ")]
    assert any(DOMAIN in line and "yet" in line and "refused" in line for line in warnings), site.warned
    assert "self-signed" in shown(site.host)["issuer"]
    release, attention = site.acme_status()
    assert "not by ACME yet" in release["certificate"]
    assert any("not by ACME yet" in line for line in attention)
    site.ward.hears(*told.ACME)


def test_a_second_apply_is_one_execution_and_no_change_although_a_certificate_is_missing(site):
    """What was asked for in vain is not asked for by every apply."""
    again = site.operator.data("host", "apply", "vps-1")
    assert (again["changed"], again["executions"]) == ([], 1)


def test_the_timer_gets_the_certificate_at_its_next_hour(site):
    """The unit that it starts asks again, and nginx shows what came; nothing is restarted."""
    started = site.root("docker inspect -f '{{.State.StartedAt}}' otobot-front-nginx-1")
    assert "otobot-certificates.timer" in site.root("systemctl list-timers --all")
    site.root("systemctl start otobot-certificates.service")
    eventually(lambda: NAME in shown(site.host)["issuer"])
    assert trusted(site, DOMAIN)
    assert site.root("docker inspect -f '{{.State.StartedAt}}' otobot-front-nginx-1") == started
    release, attention = site.acme_status()
    assert release["certificate"] == ""
    assert NAME in release["certificate_issuer"]
    assert not [line for line in attention if "certificate" in line]


def test_the_doctor_is_silent_about_a_certificate_by_acme_until_it_is_about_to_end(site):
    """Nothing to do; ten of its twelve hours later it was not renewed; a machine that knows no such authority says so."""
    site.ward.recovers()
    with late_clock(site.ward, 10 * 3600):
        site.ward.hears(*told.ACME_LATE, beside=[("archives", "acme")])  # one is wanted every four hours
    ward = site.ward
    site.operator.trusts = ""
    ward.hears(*told.UNKNOWN_AUTHORITY)


def test_a_name_that_is_added_is_on_the_same_certificate(site):
    """A service with a name of its own: after the deploy one certificate covers both names."""
    before = shown(site.host)["serial"]
    site.settings([*SITE, "tooljet"])
    said = site.deploy()
    assert "warning: " not in said
    eventually(lambda: shown(site.host)["serial"] != before)
    assert shown(site.host, APP)["names"] == {DOMAIN, APP}
    assert trusted(site, DOMAIN)
    assert trusted(site, APP)
    again = site.operator.data("host", "apply", "vps-1")
    assert (again["changed"], again["executions"]) == ([], 1)


def test_keys_are_for_root_alone(site):
    """The certificate's key and the account's key."""
    found = site.root(
        "find /etc/otobot/tls /etc/otobot/letsencrypt -type f \\( -name 'privkey*' -o -name private_key.json \\) -printf '%m %u %p\\n'"
    )
    lines = found.splitlines()
    assert len(lines) >= 3, found
    assert {" ".join(line.split()[:2]) for line in lines} <= {"600 root", "400 root"}


def due_within(site: Site, span: str) -> None:
    """Let Certbot take a certificate for due when it ends within `span`: all of this authority's are short-lived."""
    setting = f"s/^#* *renew_before_expiry.*/renew_before_expiry = {span}/"
    site.root(f"sed -i '{setting}' /etc/otobot/letsencrypt/renewal/{DOMAIN}.conf")


def test_a_certificate_that_is_not_due_is_left_alone(site):
    """Certbot runs and asks for nothing."""
    due_within(site, "1 hour")
    serial = f"openssl x509 -noout -serial -in /etc/otobot/tls/{DOMAIN}/fullchain.pem"
    before = site.root(serial)
    assert "new certificate" not in site.root("otobot-certificates now 2>&1")
    assert site.root(serial) == before


class Visitor:
    """Asks for a page again and again, a new connection each time; counts what was refused."""

    def __init__(self, host: Host) -> None:
        self.asked, self.refused = 0, []
        self._host, self._end = host, threading.Event()
        self._thread = threading.Thread(target=self._visit)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join(60)

    def _visit(self) -> None:
        context = ssl._create_unverified_context()
        while not self._end.is_set():
            try:
                with (
                    socket.create_connection((self._host.address, 443), 30) as raw,
                    context.wrap_socket(raw, server_hostname=DOMAIN) as tls,
                ):
                    tls.sendall(f"GET / HTTP/1.1\r\nHost: {DOMAIN}\r\nConnection: close\r\n\r\n".encode())
                    answer = tls.recv(15)
                if not answer.startswith(b"HTTP/1.1 200"):
                    self.refused.append(answer.decode(errors="replace"))
            except OSError as error:
                self.refused.append(repr(error))
            self.asked += 1
            time.sleep(0.1)  # below the proxy's rate


def test_a_renewal_is_served_without_a_restart_and_no_visit_is_refused(site):
    """The timer's service renews what is due; the same nginx shows a new serial, and every visitor meanwhile is served."""
    before = shown(site.host)["serial"]
    started = site.root("docker inspect -f '{{.State.StartedAt}}' otobot-front-nginx-1")
    due_within(site, "30 days")
    with Visitor(site.host) as visitor:
        site.root("systemctl start otobot-certificates.service")
        eventually(lambda: shown(site.host)["serial"] != before)
        served = visitor.asked
        eventually(lambda: visitor.asked > served + 10)
    assert visitor.refused == []
    assert site.root("docker inspect -f '{{.State.StartedAt}}' otobot-front-nginx-1") == started
    assert NAME in shown(site.host)["issuer"]


def test_an_authority_that_is_down_costs_nothing_but_a_word(site):
    """A renewal in vain: the unit fails and its log says why, the old certificate is served on, status shows its days."""
    before = shown(site.host)["serial"]
    due_within(site, "30 days")
    with site.authority_is_down():
        assert site.host.ssh(
            "systemctl start otobot-certificates.service", user="root", check=False, timeout_s=300
        ).returncode
        log = site.root("journalctl --no-pager -u otobot-certificates.service")
        assert "could not be renewed and is served on" in log
        assert shown(site.host)["serial"] == before
        release, _ = site.acme_status()
        assert 0 < release["certificate_days"] < 1
    site.root("systemctl start otobot-certificates.service")
    eventually(lambda: shown(site.host)["serial"] != before)


def get(host: Host, name: str, path: str) -> tuple[int, bytes]:
    """Ask over plain HTTP, following nothing."""
    with socket.create_connection((host.address, 80), 30) as line:
        line.sendall(f"GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode())
        answer = b"".join(iter(lambda: line.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), body


def test_only_the_challenge_is_answered_over_http(site):
    """For every name: a challenge's file as it is, anything else a redirect."""
    webroot = "/var/lib/docker/volumes/otobot-front_acme_webroot/_data/.well-known/acme-challenge"
    site.root(f"mkdir -p {webroot} && echo mine > {webroot}/token")
    for name in (DOMAIN, APP):
        assert get(site.host, name, "/.well-known/acme-challenge/token") == (200, b"mine\n")
        assert get(site.host, name, "/")[0] == 301
        assert get(site.host, name, "/.well-known/other")[0] == 301


def test_a_reboot_keeps_timer_and_certificate(site):
    """After a boot the timer is armed, and the same certificate is served."""
    before = shown(site.host)["serial"]
    site.host.reboot()
    assert site.root("systemctl is-active otobot-certificates.timer") == "active\n"
    assert "otobot-certificates.timer" in site.root("systemctl list-timers")
    eventually(lambda: shown(site.host)["serial"] == before, 180)


def test_caddy_gets_its_certificates_from_the_same_authority(site):
    """The other proxy asks by itself, and the host's timer and script go."""
    site.settings(["postgres", "tooljet", "caddy"], "caddy")
    site.deploy()
    eventually(lambda: NAME in shown(site.host)["issuer"] and NAME in shown(site.host, APP)["issuer"])
    assert trusted(site, DOMAIN)
    assert trusted(site, APP)
    left = (
        "ls /etc/systemd/system/otobot-certificates.* /usr/local/sbin/otobot-certificates; systemctl list-timers --all"
    )
    assert "otobot-certificates" not in site.root(left, check=False)
    release, _ = site.acme_status()
    assert release["certificate"] == ""
    assert NAME in release["certificate_issuer"]
    assert site.operator.data("host", "apply", "vps-1")["changed"] == []


def test_nginx_without_acme_has_no_timer(site):
    """Back to nginx, then to certificates that sign themselves: the timer comes and goes with what needs it."""
    site.settings([*SITE, "tooljet"])
    site.deploy()
    assert site.root("systemctl is-enabled otobot-certificates.timer") == "enabled\n"
    site.settings([*SITE, "tooljet"], tls="self-signed")
    site.deploy()
    assert "otobot-certificates" not in site.root("systemctl list-timers --all")
    assert site.root("systemctl --failed --no-legend") == ""
    assert site.operator.data("host", "apply", "vps-1")["changed"] == []
