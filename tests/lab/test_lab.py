"""The lab itself: hosts are real, faults do what they say, images run."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.lab import cgroups, images, pool, rewind
from tests.lab.shell import output, until
from tests.lab.slot import Slot, try_lock

PROJECT = Path(__file__).resolve().parents[2]


def test_a_fresh_host_is_a_bare_server(module_host):
    """A host runs systemd, has a sudo user, and has none of what the tool under test installs."""
    assert module_host.ssh("systemctl is-system-running --wait").stdout.strip() == "running"
    assert module_host.ssh("command -v docker ufw fail2ban-server || true").stdout == ""
    assert module_host.ssh("sudo id -u").stdout.strip() == "0"


def test_sessions_are_counted_in_the_log_of_sshd(module_host):
    """Every program run by ssh counts once, and looking inside counts as none."""
    module_host.mark_sessions()
    module_host.ssh("true")
    module_host.ssh("true")
    module_host.inside("true")
    until(lambda: module_host.sessions() == 2, "sessions", 60)


def test_a_pulled_cable_and_a_power_cut_are_real(bare_host):
    """Packets vanish while the link is down; after a power cut the disk is as it was and the boot is another one."""
    before = bare_host.boot_id()
    bare_host.link("down")
    assert not bare_host.answers()
    bare_host.link("up")
    until(bare_host.answers, "link up")
    bare_host.ssh("touch kept && sync")
    bare_host.power_cut()
    assert not bare_host.answers()
    bare_host.boot()
    assert bare_host.ssh("ls kept").stdout.strip() == "kept"
    between = bare_host.boot_id()
    assert len({before, between, bare_host.reboot()}) == 3


def test_processes_and_logins_can_be_killed(module_host):
    """A process dies by kill -9 alone; killing logins cuts them while sshd stays."""
    command = [*module_host.ssh_argv(), "sleep 4321"]
    for kill, code in ((lambda: module_host.kill_process("sleep 4321"), None), (module_host.kill_sessions, 255)):
        login = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: module_host.pids(name="sleep"), "login")
        assert kill() >= 1
        assert login.wait(60) == code or code is None
    assert module_host.ssh("systemctl show --property NRestarts --value ssh").stdout.strip() == "0"


def test_a_small_disk_is_full(module_host):
    """A write to a full disk fails in the host as on any server."""
    module_host.small_disk("/srv/small", "64k")
    module_host.fill_disk("/srv/small")
    full = module_host.ssh("echo more | sudo tee /srv/small/file", check=False)
    assert "No space left" in full.stderr
    module_host.free_disk("/srv/small")
    module_host.ssh("echo more | sudo tee /srv/small/file")
    module_host.large_disk("/srv/small")


def test_a_host_without_python_and_with_a_sudo_password(make_host):
    """The variants that providers also hand over."""
    host = make_host()
    host.remove_python()
    host.require_sudo_password("open sesame")
    assert host.ssh("command -v python3", check=False).returncode
    assert host.ssh("sudo -n true", check=False).returncode
    assert host.ssh("sudo -S -p '' id -u", input="open sesame\n").stdout.strip() == "0"


def test_a_killed_lab_leaves_nothing(lab):
    """A lab whose process got kill -9 is taken down without it: no namespace, no rule, no process, no disk."""
    program = "from tests.lab.lab import Lab; lab = Lab(); lab.open(); lab.make(); print(lab.slot.number, flush=True); input()"
    victim = subprocess.Popen(
        [sys.executable, "-c", program], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    slot = Slot(int(victim.stdout.readline()))
    groups = cgroups.directories(slot.tag).values()
    ours = (slot.directory / "owner").read_text()
    assert cgroups.pids_below(groups)
    victim.kill()
    victim.communicate()

    def gone():
        # Another lab on this machine may take the slot the moment it is free.
        owner = slot.directory / "owner"
        return not owner.exists() or owner.read_text() != ours

    until(gone, "reaper", 120)
    held = try_lock(slot.lock)
    if held is not None:
        try:
            assert not Path("/run/netns", slot.namespace).exists()
            assert slot.tag not in output("iptables-save").split()
            assert not cgroups.pids_below(groups)
            assert not list(pool.mountpoint().glob(f"host-{slot.number}-*"))
        finally:
            os.close(held)


@dataclass(eq=False)
class Keeper:
    """Somebody with a folder."""

    folder: Path


def test_a_second_try_finds_hosts_and_folders_as_the_first_one_did(lab, module_host, tmp_path):
    """A host that was changed and destroyed is there again, by the same address and key; one that was made since is not."""
    keeper, before = Keeper(tmp_path / "fleet"), tuple(lab.hosts)
    keeper.folder.mkdir()
    (keeper.folder / "manifest").write_text("first")
    rewind.keepers.add(keeper)
    module_host.ssh("echo first > state")
    mine, disks = module_host.root.name, set(pool.mountpoint().iterdir())
    moment = rewind.Moment(lab)
    try:
        (keeper.folder / "manifest").write_text("second")
        module_host.ssh("echo second > state; echo second > more")
        lab.make()
        lab.destroy(module_host)
        moment.back()
    finally:
        moment.forget()
    assert module_host.ssh("cat state; ls").stdout == "first\nstate\n"
    assert (keeper.folder / "manifest").read_text() == "first"
    assert set(lab.hosts) == set(before)
    assert not [path for path in pool.mountpoint().iterdir() if path.name.startswith(mine) and path not in disks]


def test_a_light_host_takes_logins_and_sudo(light_host):
    """Without a container there is still a server with sshd, a sudo user and Python."""
    assert light_host.ssh("sudo -n id -u && python3 -c 'print(6 * 7)'").stdout.split() == ["0", "42"]


def test_images_answer_under_their_upstream_names(warm_host):
    """The stand-ins do what the upstream images do, and a deleted one is pulled again."""
    tags = [name for names in images.wanted().values() for name in names]
    warm_host.ssh(f"docker rmi --force {tags[0]} && docker pull --quiet {tags[0]}")
    have = warm_host.ssh("docker images --format '{{.Repository}}:{{.Tag}}'").stdout.split()
    assert set(tags) <= set(have)
