"""Roles of operators: those that are built in, the manifest's own, and what a host is told."""

from __future__ import annotations

import json

import pytest

from otobotctl.agent import policy
from otobotctl.errors import ManifestError
from otobotctl.manifest import words
from otobotctl.manifest.models import CommandRole
from otobotctl.manifest.resolved import ResolvedManifest, ResolvedOperator
from otobotctl.render import roles


def manifest(role, **own):
    people = {"paul": ResolvedOperator("paul", ("ssh-ed25519 AAAA",), False, ("vps-1",), role)}
    return ResolvedManifest("Otobot", (), {}, {}, people, own)


def test_the_built_in_roles_are_in_form():
    """Every line is a command with known placeholders, every path one from the root on; support has all of reader."""
    found = roles.built_in()
    assert set(found) == {"reader", "support"}
    for role in found.values():
        assert [words.command(line) for line in (*role.host, *role.inside)] == [None] * (
            len(role.host) + len(role.inside)
        )
        assert [words.directory(path) for path in role.paths] == [None] * len(role.paths)
    assert set(found["reader"].host) < set(found["support"].host)


@pytest.mark.parametrize(
    "argv",
    [
        ["cat", "/opt/otobot/acme/current/.env"],
        ["docker", "inspect", "otobot-acme-n8n-1"],
        ["docker", "exec", "x", "env"],
        ["tail", "-n", "5", "/opt/otobot/acme/current/.env"],
        ["ls", "/etc/otobot"],
        ["journalctl", "--no-pager", "-n", "5", "--vacuum-size=1K"],
        ["find", "/var/log", "-exec", "id", ";"],
    ],
)
@pytest.mark.parametrize("role", ["reader", "support"])
def test_no_built_in_role_reaches_a_secret(role, argv):
    """Not a file with one, not a container's environment, not another program."""
    told = json.loads(roles.policy(manifest(role), "vps-1"))
    assert policy.judge(told, "paul", policy.HOST, argv, lambda path: path).why


def test_a_host_is_told_of_its_operators_alone():
    """Their roles, the manifest's own before the built-in ones; nothing where nobody has one."""
    own = CommandRole(host=("uptime",))
    told = json.loads(roles.policy(manifest("reader", reader=own), "vps-1"))
    assert told == {
        "accounts": {"paul": "reader"},
        "roles": {"reader": {"host": ["uptime"], "inside": [], "paths": []}},
    }
    assert json.loads(roles.policy(manifest("reader"), "vps-2")) == {"accounts": {}, "roles": {}}


def test_an_unknown_role_is_named():
    """With its place in the manifest and those that there are."""
    with pytest.raises(ManifestError, match=r"operators\.paul\.role") as error:
        roles.check(manifest("chef"))
    assert "reader, support" in (error.value.hint or "")
    roles.check(manifest("chef", chef=CommandRole()))
