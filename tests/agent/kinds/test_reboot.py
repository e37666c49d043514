"""When a reboot is asked for, and that it is asked for once."""

import os
import time

import pytest

from otobotctl.agent.kinds import reboot
from otobotctl.agent.run import Run


def test_a_path_made_since_this_boot_asks_for_it(tmp_path):
    """The engine reboots after the step; nothing is rebooted when nothing asks."""
    path = tmp_path / "reboot-required"
    run = Run(lambda line: None)
    reboot.apply({"path": str(path)}, run)
    assert not run.reboot_asked
    path.touch()
    facts = reboot.probe({"path": str(path)})
    assert (facts["required"], facts["kernel"]) == (True, "")
    reboot.apply({"path": str(path)}, run)
    assert run.reboot_asked


def test_a_path_older_than_this_boot_has_been_answered(tmp_path):
    """A path on a disk outlives the reboot it asked for, and must not ask at every apply."""
    path = tmp_path / "reboot-required"
    path.touch()
    old = reboot._booted_at() - 60
    os.utime(path, (old, old))
    assert not reboot.probe({"path": str(path)})["required"]


def test_the_boot_is_in_the_past():
    """In Unix seconds."""
    assert 0 < reboot._booted_at() < time.time()


@pytest.mark.parametrize(("installed", "newer"), [("other", "other"), (os.uname().release, "")])
def test_a_newer_kernel_asks_for_it(tmp_path, monkeypatch, installed, newer):
    """Debian's link names the newest installed kernel."""
    link = tmp_path / "vmlinuz"
    link.symlink_to(f"boot/vmlinuz-{installed}")
    monkeypatch.setattr(reboot, "KERNEL_LINKS", (str(tmp_path / "none"), str(link)))
    facts = reboot.probe({"kernel": True})
    assert (facts["required"], facts["kernel"]) == (bool(newer), newer)
