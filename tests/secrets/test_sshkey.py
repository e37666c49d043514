"""Key pairs that OpenSSH reads."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from otobotctl.secrets import sshkey
from otobotctl.secrets.mint import mint


def seeded(number: int) -> bytes:
    """32 bytes that are the same in every run."""
    return hashlib.sha256(f"seed {number}".encode()).digest()


def test_the_public_half_is_the_one_of_the_standard() -> None:
    """RFC 8032, 7.1, test 1."""
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    assert sshkey.public_half(seed).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


@pytest.mark.parametrize("number", range(4))
def test_openssh_reads_the_key_and_derives_the_same_public_half(number: int, tmp_path: Path) -> None:
    """As the host does when it logs in to a storage."""
    key = tmp_path / "id_ed25519"
    key.touch(0o600)
    key.write_text(sshkey.private(seeded(number), b"abcd"))
    told = subprocess.run(
        ["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True, timeout=60
    ).stdout
    assert told.split()[:2] == sshkey.public(key.read_text(), "acme").split()[:2]


def test_a_pair_is_minted_from_the_randomness_it_is_given() -> None:
    """Another seed, another key; what is no such key has no public half."""
    made = mint("ed25519", lambda count: seeded(1)[:count])
    assert made == sshkey.private(seeded(1), seeded(1)[:4])
    assert made != mint("ed25519")
    with pytest.raises(ValueError, match="not an Ed25519 key"):
        sshkey.public("-----BEGIN\nYWJj\n-----END", "acme")
