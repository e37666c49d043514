"""The doctor on one deployed host: silent while it is well, and heard for each thing that is broken there for real.

What must be heard is in `told.py`, the ways to break things in `real_breaks.py`; docs/doctor.md has them side by side.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from otobotctl.doctor.checks import NAMES as CHECKS
from tests.e2e import incident_claims, told
from tests.e2e import real_breaks as breaks
from tests.e2e.breaking import Patient, as_root, query, seen
from tests.e2e.deployed import DOMAIN
from tests.e2e.ward import Ward
from tests.lab.shell import until

pytestmark = pytest.mark.timeout(900)

SERVICES = ("postgres", "redis", "vault-api", "tooljet", "n8n", "nginx")


@pytest.fixture(scope="module")
def ward(lab, tmp_path_factory) -> Iterator[Ward]:
    """One client with everything that can break."""
    with lab.host("warm") as host:
        operator = Patient(tmp_path_factory.mktemp("operator"))
        operator.init()
        operator.add_host("vps-1", host)
        operator.create("acme", "vps-1", DOMAIN, *SERVICES)
        here = Ward(host, operator)
        here.point()
        yield here


def test_a_fresh_client_is_healthy_and_an_n8n_without_an_owner_would_be_the_one_thing_wrong(ward):
    """Whoever came first would own it, but the deploy did: exit 0, no check left out, one execution."""
    owned = "UPDATE settings SET value = '{}' WHERE key = 'userManagement.isInstanceOwnerSetUp'"
    query(ward.host, owned.format("false"), "otobot_n8n")
    ward.hears(*told.OWNER)
    query(ward.host, owned.format("true"), "otobot_n8n")
    ward.host.mark_sessions()
    healthy = ward.operator.doctor("acme", code=0)
    until(lambda: ward.host.sessions() == 1, "one execution", 60)
    assert healthy["skipped"] == []
    # Infos: nobody expects an archive yet, it has no place for one, and this machine may have much to do.
    assert {row["check"] for row in healthy["findings"]} - {"memory"} <= {"archives", "backups"}
    assert len(healthy["made"]) == len(CHECKS)


def test_no_secret_is_in_what_the_doctor_says(ward):
    """Neither on stdout nor on stderr, with or without --json."""
    said = "".join(ward.operator.run("doctor", *words).stdout for words in ((), ("--json",)))
    assert "acme" in said
    assert not [value for value in ward.operator.secrets("acme").values() if value in said]


def test_what_is_safe_to_fix_is_found_and_fixed(ward):
    """Services down or removed, passwords that are not the services', no firewall, a wall with a hole: one --fix."""
    query(ward.host, "ALTER ROLE tooljet_owner PASSWORD 'another'; ALTER ROLE vault_runtime PASSWORD 'another'")
    as_root(
        ward.host,
        "docker restart otobot-acme-tooljet-1",
        "docker stop otobot-acme-vault-api-1",
        # As `docker container prune` does with what has ended.
        "docker rm --force otobot-acme-redis-1 otobot-acme-postgres-init-1 || true",
        "ufw --force disable",
        "iptables -D DOCKER-USER -m conntrack --ctstate DNAT -j DROP || true",
        "systemctl stop fail2ban",
    )
    # The migration has the runtime's password too.
    beside = [("containers", "acme/tooljet"), ("logins", "acme/vault-migrate")]
    found = ward.hears(*told.FIXABLE, beside=beside)
    assert "password authentication failed" in seen(found, "logins", "acme/vault-api")
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
    # What Docker itself listens for does not answer either.
    beside = [("hardening", "vps-1"), ("outside_ports", "vps-1"), ("certificates", "acme"), ("tls", "acme")]
    ward.hears(*told.DAEMON, beside=beside)
    ward.operator.run("doctor", "vps-1", "--fix", "--yes", check=False)
    ward.recovers()


def test_a_host_without_docker_is_told_once(ward):
    """Its program is gone; no service is called absent for it."""
    with breaks.no_program_of_docker(ward):
        ward.hears(*told.NO_DOCKER, beside=[("hardening", "vps-1")])


def test_what_a_person_must_decide_is_found_all_at_once(ward):
    """Each check of these tells its own, of the right subject, and no other check speaks."""
    broken = (
        breaks.full_disk, breaks.another_version_wanted, breaks.secret_made("API_JWT_SECRET", 400), breaks.publishing,
        breaks.open_door, breaks.certificate(-600, -300), breaks.behind, breaks.bad_environment,
        breaks.newer_and_broken, breaks.old_release, breaks.no_way_to_the_vault,
    )  # fmt: skip
    # A ToolJet that refuses its own key does not start either.
    beside = [
        ("containers", "acme/tooljet"),
        ("stuck", "acme/tooljet"),
        ("images", "acme/tooljet"),
        ("hardening", "vps-1"),
    ]
    with breaks.all_of(ward, broken):
        found = ward.hears(*told.DECIDE, beside=beside)
    assert "9998" in seen(found, "bypass", "vps-1")
    assert "9999" not in seen(found, "bypass", "vps-1")  # published, and the wall holds
    ward.operator.run("client", "export", "acme", "--output", str(ward.operator.home / "acme.zip.age"))
    ward.recovers()


def test_the_rest_that_a_person_must_decide_is_found_all_at_once(ward):
    """What cannot be broken at the same time as the first dozen: other faults of the same things."""
    broken = (
        breaks.known_bad, breaks.killed_and_started_again, breaks.another_password_of_redis,
        breaks.starts_again_and_again, breaks.killed_for_memory, breaks.ended_for_memory, breaks.unwanted,
        breaks.wants_a_reboot, breaks.few_inodes, breaks.little_memory, breaks.nothing_keeps_the_clock,
        breaks.secret_made("REDIS_PASSWORD", 85), breaks.certificate(-85, 5), breaks.no_schema,
        breaks.workflows_that_keep_tokens, breaks.old_archive, breaks.silent_name_server,
    )  # fmt: skip
    with breaks.all_of(ward, broken):
        # Whoever looks after a minute sees that a vault without its schema has become unhealthy, too.
        beside = [("images", "acme/redis"), ("logins", "acme/redis"), ("containers", "acme/vault-api")]
        ward.hears(*told.DECIDE_MORE, beside=beside)
    ward.recovers()


def test_a_schema_that_lacks_a_migration_or_has_an_altered_one(ward):
    """By the vault's own ledger; and a clock that is off by more than seconds and less than a minute."""
    with breaks.altered_schema(ward), breaks.late_clock(ward, 40):
        ward.hears(*told.SCHEMA)


def test_names_that_lead_elsewhere_and_a_clock_that_is_wrong(ward):
    """Of the operator's machine: what its name servers and its clock say is what the host is held against."""
    ward.operator.resolve(f"{ward.host.address} app.{DOMAIN}", f"fd00::bad app.{DOMAIN}", f"192.0.2.1 n8n.{DOMAIN}")
    broken = (breaks.starts_again_and_again, breaks.no_current_release)
    try:
        with breaks.all_of(ward, broken), breaks.late_clock(ward, 600):
            found = ward.hears(*told.NAMES)
    finally:
        ward.point()
    heard = seen(found, "dns", "acme")
    assert f"n8n.{DOMAIN} leads to 192.0.2.1, which is not the host" in heard
    assert f"app.{DOMAIN} also leads to fd00::bad" in heard
    behind = re.search(r"its clock is (\d+) s behind", seen(found, "clock", "vps-1"))
    assert behind is not None
    assert 500 < int(behind[1]) < 700  # a loaded machine takes its time to ask
    ward.recovers()


def test_what_visitors_meet(ward):
    """Behind port 443 something answers that is no TLS; port 80 is silent over IPv6; on the host itself 443 is shut."""
    with breaks.all_of(ward, (breaks.no_way_to_the_proxy, breaks.no_tls_for_visitors)):
        ward.hears(*told.VISITORS)
    ward.recovers()


def test_a_port_that_another_program_has_and_an_apply_that_fails_for_it(ward):
    """Neither --fix nor an apply can start the service; the apply is told as failed until one ends well."""
    with breaks.port_taken(ward):
        failed = ward.operator.run("doctor", "--fix", "--yes", "--json", check=False)
        (tried,) = [each for each in json.loads(failed.stdout)["data"]["hosts"][0]["fixed"] if each["error"]]
        assert "acme/vault-api" in tried["title"]
        assert ward.operator.run("host", "apply", "vps-1", check=False).returncode != 0
        ward.hears(*told.PORT_TAKEN)
    ward.operator.run("host", "apply", "vps-1")
    ward.recovers()


def test_a_host_that_cannot_be_reached_is_a_finding(ward):
    """With exit code 4 and a remedy, and what visitors see is looked at all the same."""
    ward.host.link("down")
    try:
        found = ward.hears(*told.UNREACHABLE, beside=[("tls", "acme")])
    finally:
        ward.host.link("up")
    assert "docker" in {each["check"] for each in found["skipped"]}
    ward.recovers()


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
