"""The agent's half of `user` and `group`: what needs no real host. The rest is in tests/e2e/test_kinds_files.py."""

from __future__ import annotations

import grp
import os
import pwd

import pytest

from otobotctl.agent.kinds import group, user
from otobotctl.agent.run import ProbeError, StepError


class Fake:
    """Takes down what would have run."""

    def __init__(self):
        self.ran = []
        self.say = lambda line: None

    def command(self, argv):
        self.ran.append(argv)


def test_facts_of_a_user_that_exists(monkeypatch):
    """The process's own user is found, with its shell, home and primary group."""
    monkeypatch.setattr(user, "locked", lambda name: None)  # only root may look
    me = pwd.getpwuid(os.geteuid())
    facts = user.probe({"name": me.pw_name})
    assert (facts["exists"], facts["shell"], facts["home"]) == (True, me.pw_shell, me.pw_dir)
    assert grp.getgrgid(me.pw_gid).gr_name in facts["groups"]


def test_absent_is_a_fact():
    """Neither a user nor a group that is not there is an error, and taking it away runs nothing."""
    assert user.probe({"name": "nobody_like_this"}) == {"exists": False}
    assert group.probe({"name": "nobody_like_this"}) == {"exists": False}
    run = Fake()
    user.apply({"name": "nobody_like_this", "state": "absent"}, run)
    group.apply({"name": "nobody_like_this", "state": "absent"}, run)
    assert run.ran == []


@pytest.mark.parametrize(
    ("field", "expected"), [("!", True), ("*", True), ("!$y$x", True), ("$y$x", False), ("", False)]
)
def test_locked(tmp_path, field, expected):
    """Locked is a password field that no password can match."""
    (tmp_path / "shadow").write_text(f"root:*:1:::::\napp:{field}:19000:0:99999:7:::\n")
    assert user.locked("app", str(tmp_path / "shadow")) is expected
    assert user.locked("other", str(tmp_path / "shadow")) is None
    assert user.locked("app", str(tmp_path / "none")) is None
    with pytest.raises(ProbeError, match="cannot read"):
        user.locked("app", str(tmp_path))


@pytest.mark.parametrize(
    ("params", "argv"),
    [
        ({}, ["--create-home", "--shell", "/bin/bash", "--user-group"]),
        ({"system": True}, ["--system", "--no-create-home", "--shell", "/usr/sbin/nologin", "--user-group"]),
        (
            {"home": "/srv/a", "shell": "/bin/sh"},
            ["--create-home", "--shell", "/bin/sh", "--home-dir", "/srv/a", "--user-group"],
        ),
    ],
)
def test_a_new_user(params, argv):
    """Options come from what was asked for."""
    run = Fake()
    user.apply({"name": "nobody_like_this", **params}, run)
    assert run.ran == [["/usr/sbin/useradd", *argv, "nobody_like_this"]]


def test_only_what_differs_is_changed(monkeypatch):
    """Groups are appended, homes not moved, and a user that matches runs nothing."""
    facts = {"exists": True, "shell": "/bin/sh", "home": "/home/a", "groups": ["a"], "locked": False}
    monkeypatch.setattr(user, "probe", lambda params: facts)
    monkeypatch.setattr(user, "_require_groups", lambda names: None)
    run = Fake()
    user.apply({"name": "a", "groups": ["a"], "shell": "/bin/sh", "home": "/home/a"}, run)
    assert run.ran == []
    first = grp.getgrall()[0].gr_name
    wanted = {
        "name": "a",
        "groups": ["a", first] if first != "a" else [first],
        "password_locked": True,
        "home": "/srv/a",
    }
    user.apply(wanted, run)
    assert run.ran == [["/usr/sbin/usermod", "--append", "--groups", first, "--home", "/srv/a", "--lock", "a"]]


def test_a_missing_group_or_shell_says_what_to_do(monkeypatch):
    """The tool's own words would not name the step that is missing."""
    facts = {"exists": True, "shell": "/bin/sh", "home": "/home/a", "groups": ["a"], "locked": True}
    monkeypatch.setattr(user, "probe", lambda params: facts)
    with pytest.raises(StepError, match="there is no group nobody_like_this"):
        user.apply({"name": "a", "groups": ["nobody_like_this"]}, Fake())
    with pytest.raises(StepError, match="there is no shell /bin/nosuch"):
        user.apply({"name": "a", "shell": "/bin/nosuch"}, Fake())


def test_a_user_who_is_logged_in_is_waited_for_and_then_named(monkeypatch):
    """Nothing of theirs is killed: what they run is told, with the command that ends it."""
    me = pwd.getpwuid(os.geteuid())
    assert any(f"({os.getpid()})" in name for name in user.processes(me.pw_uid))
    app = pwd.struct_passwd(("app", "x", 4711, 4711, "", "/", "/bin/sh"))
    monkeypatch.setattr(pwd, "getpwnam", {"app": app}.__getitem__)
    monkeypatch.setattr(user, "probe", lambda params: {"exists": True})
    monkeypatch.setattr(user, "processes", lambda uid: ["bash (12)"])
    monkeypatch.setattr(user, "LOGOUT_S", -1)
    run = Fake()
    with pytest.raises(StepError, match=r"app still runs bash \(12\); end that with `loginctl terminate-user app`"):
        user.apply({"name": "app", "state": "absent"}, run)
    assert run.ran == []
    left = [["bash (12)"], []]
    monkeypatch.setattr(user, "LOGOUT_S", 60)
    monkeypatch.setattr(user, "processes", lambda uid: left.pop(0))
    user.apply({"name": "app", "state": "absent"}, run)
    assert run.ran == [["/usr/sbin/userdel", "app"]]


def test_group_commands(monkeypatch):
    """Made with its number, renumbered when it differs, left alone when it matches."""
    run = Fake()
    group.apply({"name": "nobody_like_this", "gid": 900, "system": True}, run)
    monkeypatch.setattr(group, "probe", lambda params: {"exists": True, "gid": 901})
    group.apply({"name": "a", "gid": 900}, run)
    group.apply({"name": "a", "gid": 901}, run)
    group.apply({"name": "a"}, run)
    group.apply({"name": "a", "state": "absent"}, run)
    assert run.ran == [
        ["/usr/sbin/groupadd", "--system", "--gid", "900", "nobody_like_this"],
        ["/usr/sbin/groupmod", "--gid", "900", "a"],
        ["/usr/sbin/groupdel", "a"],
    ]
