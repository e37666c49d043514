"""People with an account of their own on a real host: in with their key, root by sudo, and out when they leave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from types import SimpleNamespace

import msgspec
import pytest

from otobotctl.data import data_dir
from otobotctl.errors import StepFailedError
from otobotctl.plan.playbook import load_playbook
from otobotctl.render.roles import built_in
from tests.e2e import driver
from tests.e2e.driver import Way

RECORD = "/etc/otobot/operators.json"


class Team:
    """Converges one host's operators as the shipped playbook says, over SSH."""

    def __init__(self, host, directory):
        self.host = host
        self.directory = directory
        self.way = Way.to(host, directory / "way")

    def key(self, name):
        """The public half of somebody's key, made when first asked for."""
        path = self.directory / name
        if not path.exists():
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", f"{name}@x", "-f", path], check=True)
        return path.with_suffix(".pub").read_text().strip()

    def apply(self, *people, way=None, login=None):
        """Make these people the host's operators; gives the steps that changed."""
        given = {"host": SimpleNamespace(docker="distribution", user=login or self.host.user)}
        given |= {"clients": [], "front": None, "images": [], "operators": list(people)}
        given |= {"backups": [], "backup_packages": []}
        accounts = {each["name"]: "reader" for each in people if each.get("gate")}
        roles = {"reader": msgspec.to_builtins(built_in()["reader"])}
        given["policy"] = json.dumps({"accounts": accounts, "roles": roles})
        wanted = {"otobot", "operators"}
        stages = [stage for stage in load_playbook(data_dir("playbooks") / "vps.yaml", given) if stage.name in wanted]
        return driver.converge(way or self.way, *stages)

    def person(self, name, *keys, sudo=True):
        """An operator as the playbook gets one."""
        return {"name": name, "keys": [self.key(key) for key in keys or (name,)], "sudo": sudo}

    def login(self, name, command="true", key=None):
        """What an own `ssh` of this person ends with and says."""
        options = ["IdentitiesOnly=yes", "BatchMode=yes", "ConnectTimeout=30", "LogLevel=ERROR", "HostKeyAlias=vps-1"]
        options += [
            f"UserKnownHostsFile={self.directory}/way/known_hosts",
            f"IdentityFile={self.directory / (key or name)}",
        ]
        said = [word for option in options for word in ("-o", option)]
        argv = ["ssh", "-F", "none", *said, "-p", str(self.host.port), f"{name}@{self.host.address}", command]
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=120)

    def root(self, command, *, check=True):
        """A command of the test's own, as root."""
        return self.host.ssh(command, user="root", check=check)


@pytest.fixture(scope="module")
def team(module_host, tmp_path_factory):
    return Team(module_host, tmp_path_factory.mktemp("team"))


def test_a_person_is_let_in_and_shut_out(team):
    """In with her key, root by sudo without a password; a second apply changes nothing; out with what she ran."""
    team.apply()
    assert team.apply(team.person("marie")).changed
    assert team.login("marie", "id -un").stdout == "marie\n"
    assert team.login("marie", "sudo -n id -un").stdout == "root\n"
    assert team.root("passwd --status marie").stdout.split()[1] == "L"
    assert team.root("stat -c %a:%U /etc/sudoers.d/otobot-operators").stdout == "440:root\n"
    assert not team.apply(team.person("marie")).changed
    started = "setsid --fork sleep 600 </dev/null >/dev/null 2>&1; until pgrep -u marie -x sleep; do :; done"
    running = team.login("marie", f"timeout 60 sh -c '{started}'")
    assert running.returncode == 0, running.stderr
    team.root("test -d /home/marie && touch /home/marie/work")

    assert team.apply().changed
    refused = team.login("marie")
    assert refused.returncode == 255, refused.stdout
    assert team.root("cat /home/marie/.ssh/authorized_keys").stdout == ""
    assert team.root("test -e /etc/sudoers.d/otobot-operators", check=False).returncode == 1
    assert team.root("pgrep -u marie", check=False).stdout == ""
    assert team.root("su marie -c true", check=False).returncode != 0
    assert team.root("ls /home/marie/work").stdout == "/home/marie/work\n"
    assert not team.apply().changed


def test_one_comes_back_with_another_key(team):
    """The old key stays out; the account is the one that it was."""
    team.apply(team.person("marie"))
    team.apply()
    assert team.apply(team.person("marie", "new")).changed
    assert team.login("marie", key="new").returncode == 0
    assert team.login("marie", key="marie").returncode == 255
    assert team.root("cat /home/marie/.ssh/authorized_keys").stdout.strip() == team.key("new")


def test_without_sudo(team):
    """Who shall not become root cannot, beside one who can."""
    team.apply(team.person("paul", sudo=False), team.person("lea"))
    assert team.login("paul").returncode == 0
    assert team.login("paul", "sudo -n true").returncode != 0
    assert team.login("lea", "sudo -n true").returncode == 0
    team.apply()


def test_nobody_elses_account_is_touched(team):
    """An account that was there is refused by name, before anything is made, and is never shut."""
    team.apply()
    team.root("id stranger 2>/dev/null || useradd --create-home stranger")
    before = team.root("getent shadow stranger").stdout
    with pytest.raises(StepFailedError) as error:
        team.apply(team.person("stranger"), team.person("nina"))
    assert "stranger is there already" in f"{error.value.message} {error.value.details}"
    assert team.root("id nina", check=False).returncode == 1
    team.apply()
    assert team.root("getent shadow stranger").stdout == before
    assert team.root("test -e /home/stranger/.ssh", check=False).returncode == 1


def test_the_account_that_applies_stays(team):
    """Who logs in as an operator is not shut by leaving the manifest, and keeps the key that is in use."""
    team.apply(team.person("chief"))
    way = Way(team.directory / "chief-way", team.host.address, "chief", team.host.port)
    way.directory.mkdir(exist_ok=True)
    (way.directory / "known_hosts").write_text((team.directory / "way/known_hosts").read_text())
    (way.directory / "ssh_config").write_text(f"IdentityFile {team.directory}/chief\nIdentitiesOnly yes\n")
    team.apply(team.person("chief", "new"), way=way, login="chief")
    assert team.login("chief", key="chief").returncode == 0
    assert team.login("chief", key="new").returncode == 0
    assert not team.apply(team.person("chief", "new"), way=way, login="chief").changed
    team.apply(way=way, login="chief")
    assert team.login("chief", "sudo -n true", key="chief").returncode == 0
    assert not team.apply(way=way, login="chief").changed
    assert team.apply().changed
    assert team.login("chief", key="chief").returncode == 255


def test_sudoers_is_never_broken(team):
    """What visudo refuses is not put in place: the file that stood there stands, and sudo goes on working."""
    team.apply(team.person("lea"))
    before = team.root("sha256sum /etc/sudoers.d/otobot-operators").stdout
    team.root(
        "mv /usr/sbin/visudo /usr/sbin/visudo.real; printf '#!/bin/sh\\nexit 1\\n' > /usr/sbin/visudo; chmod 755 /usr/sbin/visudo"
    )
    try:
        with pytest.raises(StepFailedError, match="visudo"):
            team.apply(team.person("lea"), team.person("nina"))
    finally:
        team.root("mv /usr/sbin/visudo.real /usr/sbin/visudo")
    assert team.root("sha256sum /etc/sudoers.d/otobot-operators").stdout == before
    assert team.login("lea", "sudo -n true").returncode == 0
    assert team.root("ls -A /etc/otobot").stdout.split() == ["letsencrypt", "operators.json", "policy.json", "tls"]
    assert team.apply(team.person("lea"), team.person("nina")).changed
    assert team.login("nina", "sudo -n true").returncode == 0
    team.apply()


def test_a_leaver_cannot_bar_the_way(team):
    """Somebody who replaced his own .ssh, by a link to root's, is shut out all the same, and root's keys stand."""
    team.apply(team.person("mallory"))
    keys = team.root("cat /root/.ssh/authorized_keys").stdout
    team.root("rm -r /home/mallory/.ssh && ln -s /root/.ssh /home/mallory/.ssh")
    assert team.apply(team.person("lea")).changed
    assert team.login("lea").returncode == 0
    assert team.root("getent shadow mallory").stdout.split(":")[7] == "1"
    assert team.root("cat /root/.ssh/authorized_keys").stdout == keys
    assert not team.apply(team.person("lea")).changed


@pytest.fixture
def reader(team, tmp_path, monkeypatch):
    """`otobotctl` on the machine of somebody whose role is reader: gives exit code, stdout and stderr."""
    paul = {**team.person("paul", sudo=False), "gate": True}
    team.apply(paul, team.person("marie"))
    assert not team.apply(paul, team.person("marie")).changed
    keys = {name: {"keys": [team.key(name)], **more} for name, more in (("paul", {"role": "reader"}), ("marie", {}))}
    host = {"address": team.host.address, "port": team.host.port, "user": team.host.user}
    document = {"version": 1, "operators": keys, "hosts": {"vps-1": host}}
    (tmp_path / "clients-config.json").write_text(json.dumps(document))
    (tmp_path / "known_hosts").write_text((team.directory / "way/known_hosts").read_text())

    def run(person, *words):
        config = tmp_path / f"{person}.config"
        config.write_text(f"IdentityFile {team.directory}/{person}\nIdentitiesOnly yes\n")
        environment = {**os.environ, "OTOBOTCTL_USER": person, "OTOBOTCTL_SSH_CONFIG": str(config)}
        environment |= {"OTOBOTCTL_FLEET": str(tmp_path), "OTOBOTCTL_SSH_PERSIST": "0"}
        argv = [sys.executable, "-m", "otobotctl", *words]
        return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=300)

    return run


def test_a_role_is_held_by_the_host(team, reader):
    """What it lists is run as root and noted; all else is refused by the host, whatever the key is used for."""
    team.root("printf 'one\\ntwo\\n' > /var/log/secrets-of-root; chmod 600 /var/log/secrets-of-root")
    said = reader("paul", "exec", "vps-1", "--", "tail", "-n", "1", "/var/log/secrets-of-root")
    assert (said.returncode, said.stdout) == (0, "two\n"), said.stderr
    for argv in (["cat", "/etc/shadow"], ["tail", "-n", "1", "/etc/shadow"], ["sh", "-c", "id"]):
        said = reader("paul", "exec", "vps-1", "--", *argv)
        assert (said.returncode, said.stdout) == (14, ""), said.stderr
        assert "the role reader may not" in said.stderr
    refused = reader("paul", "host", "apply", "vps-1")
    assert refused.returncode != 0
    assert "exec, audit and status" in refused.stderr
    assert reader("paul", "status", "vps-1").returncode == 0
    # The key itself opens nothing else: no shell, no other command, no files, no tunnel; and sudo no other program.
    for command in ("id", "sudo -n id", ""):
        assert "uid=" not in team.login("paul", command).stdout
    assert team.root("su paul -c 'sudo -n id'", check=False).returncode != 0
    assert team.root("su paul -c 'sudo -n /usr/local/sbin/otobot-gate id'", check=False).returncode != 0


def test_the_audit_says_who_did_what(team, reader):
    """Commands, refusals and applies of everybody, with the account and the address; a change to it is told."""
    assert (
        reader(
            "marie", "exec", "vps-1", "--", "sh", "-c", "echo out; echo err >&2; exit 3", "--token=hunter2"
        ).returncode
        == 1
    )
    reader("paul", "exec", "vps-1", "--", "cat", "/etc/shadow")
    said = reader("paul", "audit", "--json")
    assert said.returncode == 0, said.stderr
    rows = json.loads(said.stdout)["data"]["entries"]
    assert "hunter2" not in said.stdout + team.root("cat /var/lib/otobot/audit.jsonl").stdout
    of_host = [row for row in rows if row["where"] == "vps-1"]
    assert {"apply", "exec", "exec_end", "refused"} <= {row["event"] for row in of_host}
    ended = [row for row in of_host if row["event"] == "exec_end" and row["account"] == "marie"][-1]
    assert (ended["what"]["status"], ended["what"]["role"], bool(ended["address"])) == (3, "admin", True)
    refused = [row for row in of_host if row["event"] == "refused"][-1]
    assert (refused["account"], refused["what"]["argv"]) == ("paul", ["cat", "/etc/shadow"])
    team.root("sed -i '2s/apply/apple/' /var/lib/otobot/audit.jsonl")
    try:
        said = reader("marie", "audit", "--json")
        assert said.returncode == 4
        assert "vps-1: row 3 of its audit" in json.loads(said.stdout)["error"]["details"][0]
    finally:
        team.root("sed -i '2s/apple/apply/' /var/lib/otobot/audit.jsonl")
    team.root("sed -i '$d' /var/lib/otobot/audit.jsonl")
    assert "was cut off" in reader("marie", "audit").stderr


def test_a_shell_is_opened_and_noted(team, reader):
    """`otobotctl ssh` gives the terminal to a shell with the pinned key; a role has none, and is told so."""
    refused = reader("paul", "ssh", "vps-1")
    assert refused.returncode == 14, refused.stderr
    said = reader("marie", "ssh", "vps-1")
    assert said.returncode == 0, said.stderr
    events = [json.loads(line)["event"] for line in team.root("cat /var/lib/otobot/audit.jsonl").stdout.splitlines()]
    assert events[-2:] == ["shell", "shell_end"]
