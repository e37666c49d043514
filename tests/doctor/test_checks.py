"""Every check on what a real host answered: silent while it is well, and heard for each thing that is broken."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from msgspec import structs

from otobotctl.doctor.checks import NAMES as CHECKS
from otobotctl.doctor.model import Handshake, Login, Variable
from tests.cli.parse import parse
from tests.doctor.sample import DAY_S, FOUR, HOUR_S, NAMES, NOW, SIX, answered, container, found, outside, well
from tests.e2e.told import REAL


def test_a_healthy_host_has_no_finding():
    """Not one, of any severity, of any check; every check was made."""
    from otobotctl.doctor.report import diagnose

    diagnosis = diagnose(well())
    assert diagnosis.findings == ()
    assert diagnosis.skipped == ()
    assert diagnosis.made == CHECKS


def facts(**changed):
    """A breakage: the host says something else."""
    return lambda case: case.facts.update(changed)


def trouble(service, word, **changed):
    def change(case):
        case.facts["releases"]["acme"]["trouble"][service] = word
        container(case, service).update(changed)

    return change


def of(service, **changed):
    return lambda case: container(case, service).update(changed)


def environment(service, name, *value):
    def change(case):
        there = container(case, service)["environment"]
        there.update({name: list(value)}) if value else there.pop(name)

    return change


def kept(event, **changed):
    """A breakage: the target `far` says something else of its archive or check; with no word, nothing."""

    def change(case):
        known = case.facts["backups"]["acme"]["state"]["targets"]["far"]
        known[event] = {**known[event], **changed} if changed else None

    return change


def drilled(**changed):
    return lambda case: case.facts["backups"]["acme"]["state"]["drill"].update(changed)


def targets(**kept):
    """A breakage: only these targets are left in the manifest."""

    def change(case):
        (client,) = case.clients
        left = {name: target for name, target in client.backup.targets.items() if name in kept}
        backup = structs.replace(client.backup, targets=left)
        return replace(case, clients=(structs.replace(client, backup=backup),))

    return change


def login(holder, **answer):
    def change(case):
        for each, said in zip(case.wanted.logins, case.facts["logins"], strict=True):
            if each.holder == holder:
                said.update(answer)

    return change


def certificate(**changed):
    return lambda case: case.facts["certificates"][NAMES[0]].update(changed)


def client(key, **changed):
    return lambda case: case.facts["releases"]["acme"].update({key: changed})


def altered(case):
    rows = next(answer for query, answer in case.answers.items() if "schema_migrations" in query.sql)
    return answered(case, "schema_migrations", (("1", "0" * 64), *rows[1:]))


def newer(case):
    rows = next(answer for query, answer in case.answers.items() if "schema_migrations" in query.sql)
    return answered(case, "schema_migrations", (*rows, ("9001", "f" * 64)))


def killed(case, where):
    case.facts["killed"] = [{"time": NOW - 60, "task": "redis-server", "container": where}]


def flows(case, *rows):
    return answered(case, "workflow_entity", tuple(("w1", "Veille", *row) for row in rows))


GIB = 1 << 30
RUN = {"run": "r1", "who": "me@here", "at": NOW - 60, "stage": "hardening", "state": "failed", "step": "hardening/sshd"}
DISK = {"path": "/", "size": 40 * GIB, "used": 30 * GIB, "available": 10 * GIB, "inodes": 100, "inodes_free": 90}
OPEN = {"isolated": None, "blocked": {}, "enforced": True, "restored": ""}
JUST_NOW = datetime.fromtimestamp(NOW - 60, UTC).isoformat()
OLD = "2026-01-01T00:00:00.5Z"

# check, severity, subject, words of what was seen, what breaks it
BROKEN = [
    ("reach", "warning", "vps-1", "the last run there died in hardening/sshd", lambda c: replace(c, last={**RUN, "state": "died", "step": "hardening/sshd"})),
    ("reach", "info", "vps-1", "reboot", facts(reboot_required=True)),
    ("docker", "critical", "vps-1", "daemon does not answer", facts(docker_error="Cannot connect to the Docker daemon")),
    ("docker", "critical", "vps-1", "not installed", facts(docker=False)),
    ("containers", "critical", "acme/redis", "is exited (137); it was killed for want of memory", trouble("redis", "exited (137)", state="exited", oom_killed=True)),
    ("containers", "critical", "acme/tooljet", "is unhealthy", trouble("tooljet", "unhealthy", health="unhealthy")),
    ("containers", "critical", "acme/postgres-init", "is exited (3)", trouble("postgres-init", "exited (3)", state="exited")),
    ("containers", "critical", "acme/n8n", "has no container", trouble("n8n", "absent")),
    ("containers", "warning", "acme/redis", "is no part of the release", trouble("redis", "not wanted")),
    ("containers", "info", "acme/vault-api", "has been restarted 7 times", of("vault-api", restarts=7)),
    ("containers", "warning", "acme/n8n", "last 1 minutes ago", of("n8n", restarts=3, started=JUST_NOW)),
    ("containers", "critical", "acme", "is not deployed", lambda c: c.facts["releases"]["acme"].update(current=None)),
    ("stuck", "critical", "acme/tooljet", "has been starting for", of("tooljet", health="starting", started=OLD)),
    ("stuck", "critical", "acme/tooljet", "is unhealthy; its database refuses its password", of("tooljet", health="unhealthy", marks=["its database refuses its password"])),
    ("inside_ports", "critical", "acme/vault-api", "nothing listens on 127.0.0.1:3001", lambda c: c.facts.update(listening=[each for each in c.facts["listening"] if each[1] != 3001])),
    ("inside_ports", "critical", "front", "nothing listens on port 443", lambda c: c.facts.update(listening=[each for each in c.facts["listening"] if each[1] != 443])),
    ("inside_ports", "critical", "acme/vault-api", "another program has its port", of("vault-api", error="Bind for 127.0.0.1:3001 failed: port is already allocated")),
    ("outside_ports", "critical", "vps-1", f"port 443 of {SIX} cannot be reached", lambda c: outside(c, ports={**c.outside.ports, (SIX, 443): False})),
    ("bypass", "critical", "acme/redis", "publishes 0.0.0.0:6379", of("redis", published=[["0.0.0.0", 6379]])),
    ("bypass", "critical", "acme/redis", "publishes :::6379", of("redis", published=[["::", 6379]])),
    ("bypass", "critical", "vps-1", f"port 5432 of {FOUR} answers from outside", lambda c: outside(c, ports={**c.outside.ports, (FOUR, 5432): True})),
    ("dns", "critical", "acme", "acme.example does not exist in DNS", lambda c: outside(c, resolved={**c.outside.resolved, NAMES[0]: ()})),
    ("dns", "critical", "acme", "leads to 198.51.100.7, which is not the host", lambda c: outside(c, resolved={**c.outside.resolved, NAMES[0]: ("198.51.100.7",)})),
    ("dns", "warning", "acme", "also leads to 2001:db8::bad", lambda c: outside(c, resolved={**c.outside.resolved, NAMES[0]: (FOUR, "2001:db8::bad")})),
    ("dns", "info", "acme", "did not answer for acme.example", lambda c: outside(c, resolved={**c.outside.resolved, NAMES[0]: None})),
    ("certificates", "critical", "acme", "ended 3 days ago", certificate(not_before=NOW - 93 * DAY_S, not_after=NOW - 3 * DAY_S)),
    ("certificates", "warning", "acme", "ends in 5.0 days", certificate(not_before=NOW - 85 * DAY_S, not_after=NOW + 5 * DAY_S)),
    ("certificates", "critical", "acme", "shows no certificate: connection refused", certificate(error="connection refused")),
    ("tls", "critical", "acme", f"no TLS with acme.example at {FOUR}: handshake failure", lambda c: outside(c, handshakes=(Handshake(NAMES[0], FOUR, "handshake failure"),))),
    ("clock", "critical", "vps-1", "its clock is 600 s ahead of", lambda c: replace(c, clock_s=600.0, doubt_s=1.0)),
    ("clock", "warning", "vps-1", "its clock is 20 s behind", lambda c: replace(c, clock_s=-20.0, doubt_s=1.0)),
    ("clock", "warning", "vps-1", "nothing keeps its clock right", facts(clock={"synchronised": False})),
    ("disk", "warning", "vps-1", "disk / is 90% full", facts(disks=[{**DISK, "used": 36 * GIB, "available": 4 * GIB}])),
    ("disk", "critical", "vps-1", "disk / is 97% full of inodes", facts(disks=[{**DISK, "inodes_free": 3}])),
    ("memory", "warning", "vps-1", "memory is 95% full", facts(memory={"total": 100, "available": 5})),
    ("memory", "warning", "acme/n8n", "a process in it was killed for want of memory", of("n8n", oom_killed=True)),
    ("memory", "warning", "acme/redis", "redis-server was killed for want of memory", lambda c: killed(c, container(c, "redis")["id"])),
    ("memory", "warning", "vps-1", "the kernel killed redis-server for want of memory, 1 kill in a day", lambda c: killed(c, "")),
    ("environment", "warning", "acme/vault-api", "VAULT_CLIENT is not there", environment("vault-api", "VAULT_CLIENT")),
    ("environment", "critical", "acme/n8n", "N8N_ENCRYPTION_KEY is empty", environment("n8n", "N8N_ENCRYPTION_KEY", 0, "empty")),
    ("keys", "critical", "acme/vault-api", "ENCRYPTION_MASTER_KEY must be 32 bytes, which are 64 hexadecimal characters; it has 32 characters", environment("vault-api", "ENCRYPTION_MASTER_KEY", 32, "hex")),
    ("keys", "critical", "acme/tooljet", "not of the right kind", environment("tooljet", "LOCKBOX_MASTER_KEY", 64, "text")),
    ("logins", "critical", "acme/tooljet", "tooljet_owner cannot log in to otobot_tooljet: FATAL: password authentication failed", login("tooljet", ok=False, said="FATAL: password authentication failed")),
    ("logins", "critical", "acme/redis", "its login cannot log in to redis", login("redis", ok=False, said="WRONGPASS")),
    ("schema", "critical", "acme/vault-api", "lacks migration", lambda c: answered(c, "schema_migrations", ())),
    ("schema", "critical", "acme/vault-api", "schema is not there", lambda c: answered(c, "schema_migrations", 'ERROR: relation "vault.schema_migrations" does not exist')),
    ("schema", "critical", "acme/vault-api", "migration 1 of the vault was applied with other contents", altered),
    ("schema", "warning", "acme/vault-api", "migration 9001, which this otobotctl does not know", newer),
    ("n8n_owner", "warning", "acme/n8n", "has no owner yet", lambda c: answered(c, "userManagement", (("false",),))),
    ("n8n_workflows", "warning", "acme/n8n", "workflow “Veille” keeps its data: saveManualExecutions", lambda c: flows(c, ("t", "saves", "saveManualExecutions"))),
    ("n8n_workflows", "info", "acme/n8n", "keeps its data", lambda c: flows(c, ("f", "saves", "saveDataErrorExecution"))),
    ("n8n_workflows", "critical", "acme/n8n", "pinned data of Notion", lambda c: flows(c, ("t", "pinned", "Notion"))),
    ("n8n_workflows", "critical", "acme/n8n", "written into HTTP", lambda c: flows(c, ("f", "typed", "HTTP"))),
    ("n8n_workflows", "warning", "acme/n8n", "takes credentials as items in Jeton", lambda c: flows(c, ("t", "exposes", "Jeton"))),
    ("n8n_workflows", "critical", "acme/n8n", "takes credentials as items", lambda c: flows(c, ("t", "exposes", "Jeton"), ("t", "saves", "saveDataErrorExecution"))),
    ("tokens", "warning", "acme/vault-api", "2 connections are broken", lambda c: answered(c, "client_connections", (("2", "0"),))),
    ("tokens", "warning", "acme/vault-api", "1 token ran out", lambda c: answered(c, "client_connections", (("0", "1"),))),
    ("archives", "warning", "acme", "the last archive is 2.0 days old", client("archive", made=NOW - 48 * HOUR_S)),
    ("backups", "warning", "acme", "the newest archive on far is 9.0 h old, promised are 4", kept("archive", made=NOW - 9 * HOUR_S)),
    ("backups", "critical", "acme", "there is no archive on far yet", kept("archive")),
    ("backups", "critical", "acme", "archives on far are damaged: Pack ID", kept("verified", error="Pack ID does not match", damaged=["a"])),
    ("backups", "warning", "acme", "far could not be checked: no route", kept("verified", error="no route to host")),
    ("backups", "warning", "acme", "was checked for 31 days", kept("verified", at=NOW - 40 * DAY_S)),
    ("backups", "critical", "acme", "the last drill did not prove its archive", drilled(ok=False)),
    ("backups", "warning", "acme", "no archive was proved by a drill for 31 days", drilled(at=NOW - 40 * DAY_S)),
    ("backups", "warning", "acme", "a restore takes 60 min, promised are 30", drilled(took_s=3600.0)),
    ("backups", "warning", "acme", "a restore takes 50 min, promised are 30", drilled(log={"rpo_s": 9.0, "took_s": 3000.0})),
    ("backups", "warning", "acme", "its host does not know of its backup targets yet", facts(backups={"acme": {"client": "acme", "targets": None}})),
    ("backups", "info", "acme", "it has no backup targets", targets()),
    ("backups", "info", "acme", "its archives are in one place alone", targets(far=True)),
    ("backups", "info", "acme", "no target is append-only", targets(disk=True)),
    ("images", "warning", "acme/redis", "runs redis:7.2.0, and the fleet says", of("redis", image="redis:7.2.0")),
    ("images", "warning", "acme/redis", "7.4.5 has 1 published vulnerability (CVE-2025-49844", of("redis", image="redis:7.4.5")),
    ("shield", "warning", "vps-1", "only SSH from 203.0.113.5", facts(shield={**OPEN, "isolated": ["203.0.113.5"]})),
    ("shield", "warning", "vps-1", "taken back at 2026", facts(shield={**OPEN, "restored": "2026-11-21T10:00:00Z"})),
    ("shield", "critical", "vps-1", "not in force", facts(shield={**OPEN, "enforced": False})),
    ("shield", "info", "vps-1", "holds off 198.51.100.7", facts(shield={**OPEN, "blocked": {"198.51.100.7": 0}})),
    ("secrets", "warning", "acme", "1 secret is overdue: N8N_INTERNAL_TOKEN", lambda c: replace(c, wanted=replace(c.wanted, due={"acme": (("N8N_INTERNAL_TOKEN", -3.0),)}))),
    ("secrets", "info", "acme", "to be rotated soon, the first in 5 days: SECRET_KEY_BASE", lambda c: replace(c, wanted=replace(c.wanted, due={"acme": (("SECRET_KEY_BASE", 5.0),)}))),
]  # fmt: skip


# Nobody takes all memory of the machine that the tests run on, and nothing hangs at its start for long enough without
# Docker calling it unhealthy; and a real host's backups are not made to be late yet.
NOT_REAL = [
    ("stuck", "critical", "acme/tooljet", "has been starting for"),
    ("memory", "warning", "vps-1", "the kernel killed redis-server for want of memory, 1 kill in a day"),
    *(row[:4] for row in BROKEN if row[0] == "backups"),
]


@pytest.mark.parametrize(
    ("check", "severity", "subject", "seen", "change"), BROKEN, ids=[f"{row[0]}: {row[3]}" for row in BROKEN]
)
def test_what_is_broken_is_told_with_its_remedy(check, severity, subject, seen, change):
    """The check that it belongs to says so, of whom, how bad it is, and a command."""
    case = well()
    changed = change(case)
    told = found(changed if changed is not None and not isinstance(changed, dict) else case)
    hits = [each for each in told.get(check, ()) if seen in each.seen]
    assert hits, told
    assert (hits[0].severity, hits[0].subject) == (severity, subject)
    assert hits[0].remedy
    parse(hits[0].remedy)


def test_what_is_broken_here_is_broken_for_real_too():
    """Each of these findings is heard of a real host that was broken (tests/e2e/told.py has where), but for those."""
    unproved = []
    for check, severity, subject, seen, change in BROKEN:
        case = well()
        changed = change(case)
        told = found(changed if changed is not None and not isinstance(changed, dict) else case)[check]
        (said,) = {each.seen for each in told if seen in each.seen and each.severity == severity}
        if not any((each.check, each.severity) == (check, severity) and re.search(each.words, said) for each in REAL):
            unproved.append((check, severity, subject, seen))
    assert unproved == NOT_REAL


def test_every_check_that_needs_no_real_host_to_break_is_broken_here():
    """So a check that cannot fail is seen; hardening is planned from facts of its own, and is broken on a real host."""
    assert {row[0] for row in BROKEN} == {*CHECKS} - {"hardening"}


def test_a_host_that_cannot_be_asked_is_a_finding_and_is_still_looked_at_from_outside():
    """What its visitors see is all the more wanted then; what could not be made is listed."""
    from otobotctl.doctor.report import diagnose

    diagnosis = diagnose(replace(well(), facts=None, unreachable="vps-1: refused on port 22", remedy="is it on?"))
    assert [(each.check, each.severity, each.remedy) for each in diagnosis.findings] == [
        ("reach", "critical", "is it on?")
    ]
    assert {"dns", "tls", "outside_ports"} <= set(diagnosis.made)
    assert {each.check for each in diagnosis.skipped} >= {"docker", "logins", "bypass"}


def test_a_check_that_fails_in_itself_costs_no_other():
    """A host may answer what nobody has thought of."""
    from otobotctl.doctor.report import diagnose

    case = well()
    del case.facts["memory"]
    diagnosis = diagnose(case)
    assert [(each.check, each.why) for each in diagnosis.skipped] == [
        ("memory", "a defect of the check itself: KeyError")
    ]
    assert len(diagnosis.made) == len(CHECKS) - 1


def test_certificates_by_acme_are_held_to_acme():
    """One that signs itself is no alarm where that is meant, and one where an authority's was meant."""
    case = well(tls="acme")
    told = found(case)
    assert "has no certificate by ACME yet" in told["certificates"][0].seen
    assert "does not believe" in told["tls"][0].seen


def test_a_young_client_without_an_archive_is_no_alarm_and_an_old_one_is():
    """Nobody expects an archive in the first hours; who has no schedule is never told."""
    case = well()
    case.facts["releases"]["acme"]["archive"] = None
    assert [each.severity for each in found(case)["archives"]] == ["info"]
    case.facts["since"]["acme"] = NOW - 30 * HOUR_S
    assert [each.severity for each in found(case)["archives"]] == ["warning"]


def test_what_docker_cannot_tell_is_told_once():
    """With the daemon down no service is called absent: that is one finding, whose fix starts the daemon."""
    case = well()
    case.facts.update(
        docker_error="Cannot connect", containers=[], logins=[{"ok": None, "said": "x"}] * len(case.wanted.logins)
    )
    told = found(replace(case, answers=dict.fromkeys(case.answers, "postgres does not run")))
    assert set(told) == {"docker"}
    assert told["docker"][0].fix.steps[0].spec.kind == "service"


def test_the_worst_comes_first():
    """critical, warning, info."""
    from otobotctl.doctor.report import diagnose

    case = well()
    case.facts.update(reboot_required=True, docker_error="gone")
    case = replace(case, clock_s=20.0)
    assert [each.severity for each in diagnose(case).findings] == ["critical", "warning", "info"]


def test_a_given_secret_has_no_form_that_could_be_wrong():
    """Only a person can tell what it must look like."""
    case = well()
    variables = {"acme": {"tooljet": {"GIVEN": Variable("given", "GIVEN")}}}
    container(case, "tooljet")["environment"]["GIVEN"] = [3, "text"]
    assert found(replace(case, wanted=replace(case.wanted, variables=variables))) == {}


def test_a_superuser_of_mongodb_whose_password_is_another_has_no_fix():
    """What sets passwords there logs in with that one; every other login's is set by the init."""
    case = well()
    mongo = Login("acme", "mongo", "mongo", "otobot_admin", "admin", "mongo", "MONGO_INITDB_ROOT_PASSWORD")
    other = replace(mongo, role="librechat_owner", database="librechat", holder="librechat", variable="MONGO_URI")
    case.facts["logins"] = [{"ok": False, "said": "MongoServerError: Authentication failed."}] * 2
    first, second = found(replace(case, wanted=replace(case.wanted, logins=(mongo, other))))["logins"]
    assert first.fix is None
    assert parse(first.remedy) == 1
    assert second.fix is not None


def test_a_run_that_failed_long_ago_or_was_a_fix_is_no_alarm():
    """A run with nothing left to do leaves no other behind it; what a fix was for is looked at by its own check."""
    assert [each.severity for each in found(replace(well(), last={**RUN, "at": NOW - 2 * DAY_S}))["reach"]] == ["info"]
    assert found(replace(well(), last={**RUN, "step": "doctor/restart-otobot-acme-redis-1"})) == {}
