"""The argv of ssh and the place of its sockets."""

from __future__ import annotations

import os
import shlex
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from otobotctl.transport.options import destination, options
from otobotctl.transport.sockets import control_path
from otobotctl.transport.target import Settings, Target

PLAIN = Settings(config=Path("/dev/null"))


@pytest.fixture
def target(tmp_path):
    return Target("vps-1", "203.0.113.10", "ubuntu", known_hosts=tmp_path / "odd 100%h dir" / "known_hosts")


def effective(target, settings=PLAIN, control=None):
    """What ssh itself understood: its own dump of the configuration, one value a name."""
    argv = ("ssh", "-G", *options(target, settings, control), *destination(target))
    dump = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    return dict(line.split(" ", 1) for line in dump.splitlines() if " " in line)


def test_ssh_understands_every_option(target, tmp_path):
    """No prompt, no forwarding, only the fleet's pins, and a dead line told within 15 seconds, in ssh's own words."""
    found = effective(target, control=tmp_path / "socket")
    assert found["user"] == "ubuntu"
    assert (found["batchmode"], found["stricthostkeychecking"], found["hostkeyalias"]) == ("yes", "true", "vps-1")
    assert (found["forwardagent"], found["forwardx11"], found["requesttty"]) == ("no", "no", "false")
    assert (found["serveraliveinterval"], found["serveralivecountmax"], found["connecttimeout"]) == ("5", "2", "10")
    assert found["globalknownhostsfile"] == "none"
    assert (found["controlmaster"], found["controlpersist"]) == ("auto", "60")


def test_nothing_is_shared_without_a_socket(target):
    """No socket: the operator's own shared connections, made without these pins, are not used either."""
    config = target.known_hosts.parent.parent / "config"
    config.write_text("Host *\n  ControlMaster auto\n  ControlPath /tmp/operators-own\n")
    found = effective(target, replace(PLAIN, config=config))
    assert found["controlmaster"] == "false"
    assert found.get("controlpath", "none") == "none"


def test_nested_jump_hosts_unfold_to_the_same_options(target):
    """Each hop's command, as its shell and ssh would read it, carries the pins of that hop."""
    outer = replace(target, name="outer", address="2001:db8::1")
    inner = replace(target, name="inner", jump=outer)
    proxy = effective(replace(target, jump=inner))["proxycommand"]
    words = shlex.split(proxy.replace("%%", "\0").replace("%h", "203.0.113.10").replace("%p", "22").replace("\0", "%"))
    assert words[0] == "ssh"
    assert "HostKeyAlias=inner" in words
    assert words[words.index("-W") + 1] == "[203.0.113.10]:22"
    further = next(word for word in words if word.startswith("ProxyCommand="))
    assert "HostKeyAlias=outer" in further
    assert "-W '[%h]:%p'" in further
    assert further.endswith("-- 2001:db8::1")


def test_socket_is_private_and_short(target, sockets, monkeypatch):
    """The directory is the operator's alone; a place that is open to others or too long is passed over."""
    runtime = sockets.parent
    monkeypatch.setenv("XDG_CACHE_HOME", str(runtime / "cache"))
    assert control_path(target, PLAIN).parent == sockets
    assert sockets.stat().st_mode & 0o777 == 0o700
    sockets.chmod(0o755)
    assert control_path(target, PLAIN).parent == runtime / "cache" / "otobotctl" / "ssh"
    for name in ("XDG_RUNTIME_DIR", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(runtime / ("x" * 90)))
    last = Path(f"/tmp/otobotctl-{os.getuid()}")
    ours = not last.exists()
    assert control_path(target, PLAIN).parent == last
    if ours:
        last.rmdir()


def test_socket_follows_what_decides_the_other_end(target, monkeypatch, tmp_path):
    """The same target finds its connection again; another user, port, pin or jump host finds none."""
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    paths = [control_path(target, PLAIN), control_path(replace(target, user="root"), PLAIN)]
    paths += [control_path(replace(target, port=23), PLAIN), control_path(replace(target, jump=target), PLAIN)]
    assert control_path(target, PLAIN) == paths[0]
    target.known_hosts.parent.mkdir()
    target.known_hosts.write_text("other,vps-1 ssh-ed25519 AAAA\n")
    paths.append(control_path(target, PLAIN))
    paths += [control_path(target, replace(PLAIN, persist_s=0)) for _ in range(2)]
    assert len(set(paths)) == len(paths)
    assert target.known_hosts.read_text()


def test_settings_from_environment(monkeypatch):
    """OTOBOTCTL_SSH_PERSIST and OTOBOTCTL_SSH_CONFIG are read; nonsense leaves the default."""
    monkeypatch.setenv("OTOBOTCTL_SSH_PERSIST", "0")
    monkeypatch.setenv("OTOBOTCTL_SSH_CONFIG", "/etc/my config")
    assert Settings.from_environment() == Settings(config=Path("/etc/my config"), persist_s=0)
    monkeypatch.setenv("OTOBOTCTL_SSH_PERSIST", "soon")
    assert Settings.from_environment().persist_s == 60
