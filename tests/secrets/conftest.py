"""Keys of every kind that age can use, made once."""

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Key:
    """A private key on disk and its public line."""

    path: Path
    recipient: str


@pytest.fixture(scope="session")
def keys(tmp_path_factory):
    """`keys[kind]` for ed25519, rsa, age, and a protected and an ecdsa one that age cannot use."""
    import pyrage

    if not shutil.which("ssh-keygen"):
        pytest.skip("ssh-keygen is not installed")
    directory = tmp_path_factory.mktemp("keys")
    made = {}
    for name, kind, passphrase in (
        ("ed25519", "ed25519", ""),
        ("rsa", "rsa", ""),
        ("ecdsa", "ecdsa", ""),
        ("protected", "ed25519", "a passphrase"),
    ):
        path = directory / name
        bits = ("-b", "2048") if kind == "rsa" else ()
        command = ("ssh-keygen", "-q", "-t", kind, *bits, "-N", passphrase, "-C", f"{name}@test", "-f", path)
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
        made[name] = Key(path, path.with_name(f"{name}.pub").read_text().strip())
    identity = pyrage.x25519.Identity.generate()
    path = directory / "identity.txt"
    path.write_text(f"# public key: {identity.to_public()}\n{identity}\n")
    made["age"] = Key(path, str(identity.to_public()))
    return made
