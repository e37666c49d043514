"""Repositories of the real restic whose key opens at once.

`restic init` measures how many rounds of scrypt take half a second of this machine, and every later start of restic pays
them: in these tests, which start it hundreds of times, that was most of the work. Here a repository is written as
restic's own format says (its design document, "Repository Format" and "Keys, Encryption and MAC"), with two rounds.
Everything else about it is restic's: `test_restic.py` holds that against repositories that restic makes itself.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.poly1305 import Poly1305

TOP = Path(__file__).parents[3]
_COSTS = {"N": 2, "r": 1, "p": 1}
_FOLDERS = ("index", "keys", "locks", "snapshots", *(f"data/{number:02x}" for number in range(256)))
_POLYNOMIAL = "3da3358b4dc173"  # irreducible, as chunker demands
_PROGRAM = f"""#!/bin/sh
# restic, but for `init` of a directory.
restic={{restic}}
case "$RESTIC_REPOSITORY" in
/*) for word; do [ "$word" != init ] || PYTHONPATH={TOP} exec {sys.executable} -m tests.agent.backup.quick_restic; done ;;
esac
exec "$restic" "$@"
"""


def program() -> str:
    """The text of a program `restic` that makes its repositories here."""
    return _PROGRAM.replace("{restic}", shutil.which("restic") or "restic")


def init(repository: Path, password: str) -> None:
    """Make an empty repository.

    Raises:
        FileExistsError: there is one.
    """
    if (repository / "config").exists():
        raise FileExistsError(repository)
    for name in _FOLDERS:
        (repository / name).mkdir(parents=True, exist_ok=True)
    master, salt = secrets.token_bytes(64), secrets.token_bytes(64)
    words = {"mac": {"k": _base64(master[32:48]), "r": _base64(master[48:])}, "encrypt": _base64(master[:32])}
    derived = hashlib.scrypt(
        password.encode(), salt=salt, n=_COSTS["N"], r=_COSTS["r"], p=_COSTS["p"], dklen=len(master)
    )
    key = {
        "created": "2026-01-01T00:00:00Z",
        "username": "root",
        "hostname": "here",
        "kdf": "scrypt",
        **_COSTS,
        "salt": _base64(salt),
        "data": _base64(_sealed(derived, json.dumps(words).encode())),
    }
    text = json.dumps(key).encode()
    (repository / "keys" / hashlib.sha256(text).hexdigest()).write_bytes(text)
    config = {"version": _version(), "id": secrets.token_hex(32), "chunker_polynomial": _POLYNOMIAL}
    (repository / "config").write_bytes(_sealed(master, json.dumps(config).encode()))


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _sealed(key: bytes, plain: bytes) -> bytes:
    """Nonce, AES-256-CTR and Poly1305-AES by a key of 32 bytes to encrypt, 16 for the MAC's AES, 16 for its r."""
    nonce = secrets.token_bytes(16)
    encryptor = Cipher(algorithms.AES(key[:32]), modes.CTR(nonce)).encryptor()
    hidden = encryptor.update(plain) + encryptor.finalize()
    once = Cipher(algorithms.AES(key[32:48]), modes.ECB()).encryptor()
    return nonce + hidden + Poly1305.generate_tag(key[48:] + once.update(nonce) + once.finalize(), hidden)


@cache
def _version() -> int:
    """The newest format that this machine's restic makes by itself."""
    said = subprocess.run(("restic", "version"), capture_output=True, text=True, check=True).stdout
    return 2 if tuple(int(each) for each in said.split()[1].split(".")[:2]) >= (0, 14) else 1


def main() -> int:
    """`restic init`, of which the environment says where and with which password."""
    repository = Path(os.environ["RESTIC_REPOSITORY"])
    try:
        init(repository, Path(os.environ["RESTIC_PASSWORD_FILE"]).read_text().strip())
    except FileExistsError:
        print("Fatal: create key in repository failed: config file already exists", file=sys.stderr)
        return 1
    except OSError as error:
        print(
            f"Fatal: create repository at {repository} failed: {(error.strerror or str(error)).lower()}",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
