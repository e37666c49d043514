"""The lab itself: hosts are real, faults do what they say, images run."""

from __future__ import annotations


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
    assert module_host.sessions() == 2


def test_a_light_host_takes_logins_and_sudo(light_host):
    """Without a container there is still a server with sshd, a sudo user and Python."""
    assert light_host.ssh("sudo -n id -u && python3 -c 'print(6 * 7)'").stdout.split() == ["0", "42"]


def test_images_answer_under_their_upstream_names(warm_host):
    """The stand-ins do what the upstream images do, and a deleted one is pulled again."""
    from tests.lab import images

    tags = [name for names in images.wanted().values() for name in names]
    warm_host.ssh(f"docker rmi --force {tags[0]} && docker pull --quiet {tags[0]}")
    have = warm_host.ssh("docker images --format '{{.Repository}}:{{.Tag}}'").stdout.split()
    assert set(tags) <= set(have)
