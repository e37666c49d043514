"""Key pairs that OpenSSH reads."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

from otobotctl.secrets.mint import mint

# RFC 8032, 7.1, test 1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"


def public(key: Path, text: str) -> str:
    """The public half that OpenSSH derives, in hex."""
    key.touch(0o600)
    key.write_text(text)
    told = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True, timeout=60)
    kind, blob, *_ = told.stdout.split()
    assert kind == "ssh-ed25519"
    return base64.b64decode(blob)[-32:].hex()


def test_openssh_reads_the_key_of_the_randomness_that_is_given(tmp_path: Path) -> None:
    """As the host does when it logs in to a storage; and where none is given, each is another one."""
    assert public(tmp_path / "given", mint("ed25519", lambda count: SEED[:count])) == PUBLIC
    one, other = (public(tmp_path / name, mint("ed25519")) for name in ("one", "other"))
    assert PUBLIC != one != other
