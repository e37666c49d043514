"""The doctor on one deployed host: silent while it is well, and heard for each thing that is broken there for real."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address

import pytest

from otobotctl.doctor.checks import NAMES as CHECKS
from tests.e2e import incident_claims
from tests.e2e.breaking import COMPOSE, CURRENT, Patient, as_root, ill, query, seen
from tests.e2e.deployed import DOMAIN, eventually
from tests.lab.host import Host

pytestmark = pytest.mark.timeout(900)

SERVICES = ("postgres", "redis", "vault-api", "tooljet", "n8n", "nginx")
NAMES = (DOMAIN, f"n8n.{DOMAIN}", f"app.{DOMAIN}")
TLS = f"/etc/otobot/tls/{DOMAIN}"


class Ward:
    """The host, its operator, and what a healthy one is told as."""

    def __init__(self, host: Host, operator: Patient) -> None:
        self.host, self.operator = host, operator

    def point(self, address: str = "") -> None:
        """Let the client's names lead to this address; default: to the host."""
        self.operator.resolve(*(f"{address or self.host.address} {name}" for name in NAMES))

    def is_well(self) -> bool:
        """Whether the doctor finds nothing; containers that were broken may need a moment."""
        done = self.operator.run("doctor", "--json", check=False)
        self.told = ill(json.loads(done.stdout)["data"]["hosts"][0])
        return done.returncode == 0

    def recovers(self) -> None:
        """It is well again, in time."""
        eventually(self.is_well, 240)


@pytest.fixture(scope="module")
def ward(warm_host, tmp_path_factory) -> Iterator[Ward]:
    """One client with everything that can break."""
    operator = Patient(tmp_path_factory.mktemp("operator"))
    operator.init()
    operator.add_host("vps-1", warm_host)
    operator.create("acme", "vps-1", DOMAIN, *SERVICES)
    here = Ward(warm_host, operator)
    here.point()
    yield here


def test_a_fresh_client_is_healthy_and_an_n8n_without_an_owner_would_be_the_one_thing_wrong(ward):
    """Whoever came first would own it, but the deploy did: exit 0, no check left out, one execution."""
    owned = "UPDATE settings SET value = '{}' WHERE key = 'userManagement.isInstanceOwnerSetUp'"
    query(ward.host, owned.format("false"), "otobot_n8n")
    assert ill(ward.operator.doctor(code=4)) == {("n8n_owner", "acme/n8n")}
    query(ward.host, owned.format("true"), "otobot_n8n")
    ward.host.mark_sessions()
    healthy = ward.operator.doctor("acme", code=0)
    assert ward.host.sessions() == 1
    assert healthy["skipped"] == []
    # Infos: nobody expects an archive yet, and this machine may have much to do.
    assert {row["check"] for row in healthy["findings"]} - {"memory"} <= {"archives"}
    assert len(healthy["made"]) == len(CHECKS)


def test_no_secret_is_in_what_the_doctor_says(ward):
    """Neither on stdout nor on stderr, with or without --json."""
    said = "".join(ward.operator.run("doctor", *words).stdout for words in ((), ("--json",)))
    assert "acme" in said
    assert not [value for value in ward.operator.secrets("acme").values() if value in said]


def test_what_is_safe_to_fix_is_found_and_fixed(ward):
    """A service down, a database password that is not the service's, a firewall off, a wall with a hole: one --fix."""
    query(ward.host, "ALTER ROLE tooljet_owner PASSWORD 'another'; ALTER ROLE vault_runtime PASSWORD 'another'")
    as_root(
        ward.host,
        "docker restart otobot-acme-tooljet-1",
        "docker stop otobot-acme-redis-1",
        "ufw --force disable",
        "iptables -D DOCKER-USER -m conntrack --ctstate DNAT -j DROP",
        "systemctl stop fail2ban",
    )

    def stuck() -> bool:
        self = ward.operator.doctor(code=4)
        ward.found = self
        return "refuses its password" in seen(self, "stuck", "acme/tooljet")

    eventually(stuck, 120)
    found = ill(ward.found)
    assert {
        ("logins", "acme/tooljet"), ("logins", "acme/vault-api"), ("stuck", "acme/tooljet"),
        ("containers", "acme/redis"), ("hardening", "vps-1"),
    } <= found  # fmt: skip
    assert {check for check, _ in found} <= {"logins", "stuck", "containers", "hardening"}
    assert "password authentication failed" in seen(ward.found, "logins", "acme/vault-api")
    for step in ("hardening/firewall", "hardening/docker-wall-stands", "hardening/fail2ban"):
        assert step in seen(ward.found, "hardening", "vps-1")
    refused = ward.operator.run("doctor", "--fix", check=False)  # nobody is there to say yes
    assert refused.returncode == 2
    mended = json.loads(ward.operator.run("doctor", "--fix", "--yes", "--json", check=False).stdout)["data"]["hosts"][0]
    assert [each for each in mended["fixed"] if each["error"]] == []
    assert len(mended["fixed"]) >= 5
    # How often it was restarted is told for a while; started by hand, Docker counts from 0 again.
    as_root(ward.host, "docker restart otobot-acme-tooljet-1")
    ward.recovers()
    assert "Status: active" in as_root(ward.host, "ufw status")


def test_docker_that_does_not_run_is_told_and_started(ward):
    """No service is called absent for it; the containers run on meanwhile."""
    as_root(ward.host, "systemctl stop docker.socket docker.service")
    found = {check for check, _ in ill(ward.operator.doctor(code=4))}
    # What Docker itself listens for does not answer either.
    assert {"docker"} <= found <= {"docker", "hardening", "outside_ports", "certificates", "tls"}
    ward.operator.run("doctor", "vps-1", "--fix", "--yes", check=False)
    ward.recovers()


def test_what_a_person_must_decide_is_found_all_at_once(ward):
    """Each check of these tells its own, of the right subject, and no other check speaks."""
    expected = {
        ("disk", "vps-1"), ("bypass", "stray"), ("bypass", "vps-1"), ("inside_ports", "acme/vault-api"),
        ("certificates", "acme"), ("keys", "acme/tooljet"), ("environment", "acme/redis"), ("archives", "acme"),
        ("secrets", "acme"), ("schema", "acme/vault-api"), ("tokens", "acme/vault-api"), ("images", "acme/redis"),
    }  # fmt: skip

    def all_seen() -> bool:
        ward.found = ward.operator.doctor(code=4)
        return expected <= ill(ward.found)

    with everything_wrong(ward):
        eventually(all_seen, 240)
    found = ward.found
    # A ToolJet that refuses its own key does not start either.
    assert ill(found) - expected <= {("containers", "acme/tooljet"), ("stuck", "acme/tooljet"), ("hardening", "vps-1")}
    assert "9998" in seen(found, "bypass", "vps-1")
    assert "9999" not in seen(found, "bypass", "vps-1")  # published, and the wall holds
    assert "128 hexadecimal characters; it has 5 characters" in seen(found, "keys", "acme/tooljet")
    assert "TZ is not there" in seen(found, "environment", "acme/redis")
    assert "ended" in seen(found, "certificates", "acme")
    assert "the fleet says redis:7.4.5" in seen(found, "images", "acme/redis")
    ward.operator.run("client", "export", "acme", "--output", str(ward.operator.home / "acme.zip.age"))
    ward.recovers()


@contextmanager
def everything_wrong(ward: Ward) -> Iterator[None]:
    """Twelve things that nobody else may put right, broken and put right again."""
    manifest = ward.operator.fleet / "clients-config.json"
    metadata = ward.operator.fleet / "clients/acme/secrets.yaml"
    kept, dates = manifest.read_text(), metadata.read_text()
    image = as_root(ward.host, "docker inspect --format '{{.Config.Image}}' otobot-acme-redis-1").strip()
    oldest = (datetime.now(UTC) - timedelta(days=400)).strftime("%Y-%m-%dT%H:%M:%SZ")
    as_root(
        ward.host,
        f"cp -p {TLS}/fullchain.pem {TLS}/privkey.pem {CURRENT}/env/tooljet.env {CURRENT}/env/redis.env /root/",
    )
    ward.host.small_disk("/boot")
    ward.host.fill_disk("/boot")
    changed = json.loads(kept)
    changed["clients"]["acme"].setdefault("settings", {})["redis"] = {"version": "7.4.5"}
    manifest.write_text(json.dumps(changed))
    metadata.write_text(dated(dates, oldest))
    try:
        as_root(
            ward.host,
            # Published beyond loopback, as `docker run -p` by hand does.
            f"docker run --detach --name stray --publish 0.0.0.0:9999:6379 --entrypoint sleep {image} 3600",
            # A listener of the host's own behind a door that somebody opened.
            "ufw allow 9998/tcp",
            "systemd-run --quiet --unit=stray python3 -m http.server 9998",
            # Nothing hands 3001 on any more, though the container is well.
            "pkill --full 'host-port [3]001' || true",
            "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /O=old/CN=old "
            "-not_before 20250101000000Z -not_after 20250301000000Z "
            f"-keyout {TLS}/privkey.pem -out {TLS}/fullchain.pem",
            f"sed -i 's/^SECRET_KEY_BASE=.*/SECRET_KEY_BASE=short/' {CURRENT}/env/tooljet.env",
            f"sed -i '/^TZ=/d' {CURRENT}/env/redis.env",
            f"{COMPOSE} up --detach --no-deps redis tooljet",
            "touch --date '2 days ago' /opt/otobot/acme/releases/*",
        )
        query(
            ward.host,
            "SET search_path = vault; INSERT INTO schema_migrations (version, name, checksum) VALUES (9001, 'later', 'x');"
            "INSERT INTO users (client_id, id, email) SELECT id, gen_random_uuid(), 'bob@acme.example' FROM clients;"
            "INSERT INTO client_connections (client_id, id, user_id, service_code, encrypted_api_key, status)"
            " SELECT client_id, gen_random_uuid(), id, 'openai', 'x', 'broken' FROM users;",
        )
        yield
    finally:
        manifest.write_text(kept)
        metadata.write_text(dates)
        ward.host.large_disk("/boot")
        query(
            ward.host,
            "SET search_path = vault; DELETE FROM schema_migrations WHERE version = 9001; DELETE FROM client_connections;"
            "DELETE FROM users;",
        )
        as_root(
            ward.host,
            "docker rm --force stray || true",
            "systemctl stop stray || true",
            "ufw delete allow 9998/tcp || true",
            f"mv /root/fullchain.pem /root/privkey.pem {TLS}/",
            f"mv /root/tooljet.env /root/redis.env {CURRENT}/env/",
            f"{COMPOSE} up --detach --no-deps redis tooljet",
            "docker restart otobot-acme-vault-api-1",
        )


def test_a_schema_that_lacks_a_migration_or_has_an_altered_one(ward):
    """By the vault's own ledger."""
    was = query(ward.host, "SELECT checksum FROM vault.schema_migrations WHERE version = 1")
    query(
        ward.host,
        "CREATE TABLE vault.kept AS SELECT * FROM vault.schema_migrations WHERE version = 3;"
        "DELETE FROM vault.schema_migrations WHERE version = 3;"
        "UPDATE vault.schema_migrations SET checksum = 'x' WHERE version = 1",
    )
    try:
        found = ward.operator.doctor(code=4)
    finally:
        query(
            ward.host,
            f"INSERT INTO vault.schema_migrations SELECT * FROM vault.kept; DROP TABLE vault.kept;"
            f"UPDATE vault.schema_migrations SET checksum = '{was}' WHERE version = 1",
        )
    assert ill(found) == {("schema", "acme/vault-api")}
    assert "lacks migration 3" in seen(found, "schema", "acme/vault-api")
    assert "migration 1 of the vault was applied with other contents" in seen(found, "schema", "acme/vault-api")


def test_names_that_lead_elsewhere_and_a_clock_that_is_wrong(ward):
    """Of the operator's machine: what its name servers and its clock say is what the host is held against."""
    ward.operator.resolve(
        f"{ward.host.address} {DOMAIN} app.{DOMAIN}", f"fd00::bad app.{DOMAIN}", f"192.0.2.1 n8n.{DOMAIN}"
    )
    ward.operator.clock_s = 600
    try:
        found = ward.operator.doctor(code=4)
    finally:
        ward.operator.clock_s = 0
        ward.point()
    assert ill(found) == {("dns", "acme"), ("clock", "vps-1")}
    told = seen(found, "dns", "acme")
    assert f"n8n.{DOMAIN} leads to 192.0.2.1, which is not the host" in told
    assert f"app.{DOMAIN} also leads to fd00::bad" in told
    behind = re.search(r"its clock is (\d+) s behind", seen(found, "clock", "vps-1"))
    assert behind is not None
    assert 500 < int(behind[1]) < 700  # a loaded machine takes its time to ask


def test_what_visitors_meet(ward):
    """Behind port 443 something answers that is no TLS; port 80 does not answer over IPv6."""
    as_root(
        ward.host,
        "iptables -t nat -I PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 22",
        "ip6tables -t raw -I PREROUTING -p tcp --dport 80 -j DROP",
    )
    try:
        found = ward.operator.doctor(code=4)
    finally:
        as_root(
            ward.host,
            "iptables -t nat -D PREROUTING -p tcp --dport 443 -j REDIRECT --to-ports 22",
            "ip6tables -t raw -D PREROUTING -p tcp --dport 80 -j DROP",
        )
    assert {("tls", "acme"), ("outside_ports", "vps-1")} == ill(found)
    assert f"port 80 of {ip_address(ward.host.address6)} " in seen(found, "outside_ports", "vps-1")
    ward.recovers()


def test_a_host_that_cannot_be_reached_is_a_finding(ward):
    """With exit code 4 and a remedy, and what visitors see is looked at all the same."""
    ward.host.link("down")
    try:
        found = ward.operator.doctor(code=4)
    finally:
        ward.host.link("up")
    assert ("reach", "vps-1") in ill(found)
    assert ("outside_ports", "vps-1") in ill(found)
    assert "docker" in {each["check"] for each in found["skipped"]}
    ward.recovers()


def dated(metadata: str, when: str) -> str:
    """The metadata with one secret that was made long ago."""
    lines = metadata.splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if "API_JWT_SECRET" in line)
    made = next(number for number in range(at, len(lines)) if "created:" in lines[number])
    indent = lines[made][: lines[made].index("created:")]
    lines[made] = f'{indent}created: "{when}"\n'
    return "".join(lines)


# Incidents, on the same host once it is well again; in this order, each leaves it as it found it but for its records.
test_an_address_that_is_held_off_gets_nothing_and_others_are_served = (
    incident_claims.an_address_that_is_held_off_gets_nothing_and_others_are_served
)
test_who_is_held_off_for_a_time_comes_in_again_after_it = (
    incident_claims.who_is_held_off_for_a_time_comes_in_again_after_it
)
test_an_isolated_host_answers_the_operators_ssh_and_nobody_else = (
    incident_claims.an_isolated_host_answers_the_operators_ssh_and_nobody_else
)
test_an_isolation_that_no_login_proves_is_taken_back = incident_claims.an_isolation_that_no_login_proves_is_taken_back
test_a_connection_is_ended_and_what_remains_is_told = incident_claims.a_connection_is_ended_and_what_remains_is_told
test_the_records_tell_it_all_and_hold_no_secret = incident_claims.the_records_tell_it_all_and_hold_no_secret
