"""The lab itself: hosts are real, faults do what they say."""

from __future__ import annotations


def test_a_fresh_host_is_a_bare_server(module_host):
    """A host runs systemd, has a sudo user, and has none of what the tool under test installs."""
    assert module_host.ssh("systemctl is-system-running --wait").stdout.strip() == "running"
    assert module_host.ssh("command -v docker ufw fail2ban-server || true").stdout == ""
    assert module_host.ssh("sudo id -u").stdout.strip() == "0"
