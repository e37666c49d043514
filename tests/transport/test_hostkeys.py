"""Host keys: shown, pinned, replaced, removed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from otobotctl.errors import HostKeyError, HostUnreachableError
from otobotctl.transport import hostkeys
from otobotctl.transport.hostkeys import HostKey
from otobotctl.transport.ssh import Settings
from tests.transport import sshd

PLAIN = Settings(config=Path("/dev/null"), persist_s=0)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_fingerprint_is_that_of_ssh_keygen(tmp_path, kind):
    """The fingerprint an operator compares is the one that ssh-keygen shows."""
    subprocess.run(("ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(tmp_path / "key")), check=True)
    public = tmp_path / "key.pub"
    shown = subprocess.run(("ssh-keygen", "-l", "-f", str(public)), check=True, capture_output=True, text=True).stdout
    key_type, blob, *_ = public.read_text().split()
    assert HostKey(key_type, blob).fingerprint == shown.split()[1]


def test_fingerprint_of_nonsense():
    """What is no key is a ValueError."""
    with pytest.raises(ValueError, match="base64"):
        hostkeys.fingerprint("?")


def test_fetched_key_is_the_hosts_and_nothing_is_pinned(server, tmp_path):
    """The host's key is learnt without a login."""
    before = server.logins()
    known_hosts = tmp_path / "known_hosts"
    keys = hostkeys.fetch_keys(server.target(known_hosts), settings=PLAIN)
    assert keys == (server.host_key,)
    assert server.logins() == before
    assert not known_hosts.exists()


def test_an_expected_key_of_another_kind_is_found(server, tmp_path):
    """A provider may show the fingerprint of a key that ssh would not choose: it comes first, and a login uses it."""
    known_hosts = tmp_path / "known_hosts"
    wanted = server.second_host_key
    keys = hostkeys.fetch_keys(server.target(known_hosts), expected=wanted.fingerprint, settings=PLAIN)
    assert keys[0] == wanted
    assert server.host_key in keys
    assert hostkeys.fetch_keys(server.target(known_hosts), expected="SHA256:none", settings=PLAIN)[0] != wanted


def test_fetch_goes_through_a_pinned_jump_host(server, tmp_path):
    """Behind a jump host the key is the far host's; an unpinned jump host is refused by name."""
    known_hosts = tmp_path / "known_hosts"
    target = server.target(known_hosts, jump=server.target(known_hosts, name="bastion"))
    with pytest.raises(HostKeyError, match="bastion"):
        hostkeys.fetch_keys(target, settings=PLAIN)
    hostkeys.pin(known_hosts, "bastion", server.host_key)
    assert hostkeys.fetch_keys(target, settings=PLAIN) == (server.host_key,)


def test_fetch_from_a_closed_port(server, tmp_path):
    """No host, no key: exit code 13."""
    with pytest.raises(HostUnreachableError, match="connection refused"):
        hostkeys.fetch_keys(server.target(tmp_path / "known_hosts", port=sshd.free_port()), settings=PLAIN)


def test_pin_replaces_only_its_own_name(tmp_path):
    """Comments, other names and shared lines stay; a name has the one key that was pinned last."""
    path = tmp_path / "fleet" / "known_hosts"
    path.parent.mkdir()
    path.write_text("# ours\nvps-1,alias ssh-rsa AAAA\nvps-10 ssh-rsa BBBB\n\nvps-1 ssh-rsa CCCC note\n")
    hostkeys.pin(path, "vps-1", HostKey("ssh-ed25519", "DDDD"))
    assert path.read_text() == "# ours\nalias ssh-rsa AAAA\nvps-10 ssh-rsa BBBB\n\nvps-1 ssh-ed25519 DDDD\n"
    assert hostkeys.pinned(path, "vps-1") == (HostKey("ssh-ed25519", "DDDD"),)
    assert hostkeys.pinned_names(path) == {"alias", "vps-10", "vps-1"}


def test_unpin(tmp_path):
    """A removed name has no key left, and a name that was not there changes nothing."""
    path = tmp_path / "known_hosts"
    assert hostkeys.pinned(path, "vps-1") == ()
    hostkeys.unpin(path, "vps-1")
    assert not path.exists()
    hostkeys.pin(path, "vps-1", HostKey("ssh-ed25519", "DDDD"))
    hostkeys.unpin(path, "vps-1")
    assert path.read_text() == ""


def test_pins_that_are_written_at_once_are_all_there(tmp_path):
    """Two people trust two hosts in the same moment: neither writes the other's pin away."""
    known_hosts = tmp_path / "known_hosts"
    script = (
        "import sys; from pathlib import Path; from otobotctl.transport import hostkeys\n"
        "for number in range(40):\n"
        "    hostkeys.pin(Path(sys.argv[1]), f'{sys.argv[2]}-{number}', hostkeys.HostKey('ssh-ed25519', 'AAAA'))\n"
    )
    running = [subprocess.Popen((sys.executable, "-c", script, str(known_hosts), name)) for name in ("a", "b", "c")]
    assert [each.wait(120) for each in running] == [0, 0, 0]
    assert len(hostkeys.pinned_names(known_hosts)) == 120
