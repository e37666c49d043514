"""What an operator's role lets him run, and what an audit keeps of it."""

from __future__ import annotations

import os

import pytest

from otobotctl.agent import policy

ROLES = {
    "reader": {
        "host": ["uptime", "tail -n {number} {path}", "ls {path}...", "docker logs --tail {number} {name}"],
        "inside": ["date"],
        "paths": ["/var/log", "/etc/hostname"],
    }
}
POLICY = {"accounts": {"paul": "reader", "lost": "nobody-knows"}, "roles": ROLES}


def judged(*argv, account="paul", place=policy.HOST, real=os.path.normpath):
    return policy.judge(POLICY, account, place, argv, real).why


@pytest.mark.parametrize(
    "argv",
    [
        ["uptime"],
        ["tail", "-n", "20", "/var/log/syslog"],
        ["tail", "-n", "20", "/etc/hostname"],
        ["ls", "/var/log"],
        ["ls", "/var/log/nginx", "/var/log/apt"],
        ["docker", "logs", "--tail", "5", "otobot-acme-n8n-1"],
    ],
)
def test_what_a_role_lists_may_be_run(argv):
    """Words as they are written, numbers, names, and paths below those of the role."""
    assert judged(*argv) == ""


@pytest.mark.parametrize(
    "argv",
    [
        [],
        ["uptime", "-p"],
        ["uptime\0"],
        ["tail", "-f", "20", "/var/log/syslog"],
        ["tail", "-n", "-20", "/var/log/syslog"],
        ["tail", "-n", "20", "/etc/shadow"],
        ["tail", "-n", "20", "/var/log/../../etc/shadow"],
        ["tail", "-n", "20", "/var/logs/x"],
        ["tail", "-n", "20", "var/log/x"],
        ["tail", "-n", "20", "--follow=name"],
        ["ls"],
        ["ls", "/var/log", "/root"],
        ["ls", "-R", "/var/log"],
        ["docker", "logs", "--tail", "5", "--details"],
        ["docker", "logs", "--tail", "5", "a", "b"],
        ["sh", "-c", "uptime"],
        ["uptime; id"],
        ["/usr/bin/uptime"],
    ],
)
def test_everything_else_is_refused(argv):
    """Another option, another word, another path, one word too many: none of it is what the role lists."""
    assert judged(*argv)


def test_a_link_does_not_lead_out_of_the_paths(tmp_path):
    """The path and the place that it leads to must both be allowed."""
    link = tmp_path / "innocent"
    link.symlink_to("/etc/shadow")
    roles = {"reader": {**ROLES["reader"], "paths": [str(tmp_path)]}}
    here = {**POLICY, "roles": roles}
    plain = tmp_path / "plain"
    assert not policy.judge(here, "paul", policy.HOST, ["ls", str(plain)], os.path.realpath).why
    refused = policy.judge(here, "paul", policy.HOST, ["ls", str(link)], os.path.realpath)
    assert refused.why == f"the role reader may not read {link}"


def test_places_and_accounts():
    """A container has a list of its own; an account in no list is an administrator's; an unknown role may nothing."""
    assert judged("date", place=policy.INSIDE) == ""
    assert judged("date")
    assert judged("uptime", place=policy.INSIDE)
    assert judged("rm", "-rf", "/", account="marie") == ""
    assert judged("uptime", account="lost") == "the host does not know the role nobody-knows"
    assert policy.role_of(POLICY, "marie") == "admin"


def test_a_host_without_a_policy_has_administrators_alone(tmp_path):
    """Who gets that far without one has sudo already."""
    assert policy.read(str(tmp_path / "none")) == {"accounts": {}, "roles": {}}


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["psql", "postgres://u:hunter2@db/x"], ["psql", "postgres://u:***@db/x"]),
        (["x", "--password", "hunter2", "y"], ["x", "--password", "***", "y"]),
        (["x", "--api-key=hunter2"], ["x", "--api-key=***"]),
        (["env", "DB_PASSWORD=hunter2", "x"], ["env", "DB_PASSWORD=***", "x"]),
        (["curl", "-H", "Authorization: hunter2"], ["curl", "-H", "Authorization:***"]),
        (["df", "-h"], ["df", "-h"]),
    ],
)
def test_an_audit_keeps_no_secret(typed, kept):
    """What looks like a secret's value is not kept."""
    assert policy.shown(typed) == kept
