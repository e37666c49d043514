"""Debian as it is downloaded: the mirror this machine uses, a new system as a cached tar, the authorities that are trusted."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
from pathlib import Path

from tests.lab.shell import Argument, LabError, retry, run
from tests.lab.slot import home, locked


def mirror(ending: str) -> str:
    """Return the package mirror of this machine whose path ends in `/debian` or `/debian-security`."""
    for file in (*sorted(Path("/etc/apt/sources.list.d").glob("*")), Path("/etc/apt/sources.list")):
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found = re.search(rf"^(?!#).*?(https?://\S+/{ending})/?(?=\s|$)", file.read_text(), re.MULTILINE)
            if found:
                return found[1]
    raise LabError(f"/etc/apt names no mirror that ends in /{ending}; the lab needs one of Debian's")


def sources(suite: str) -> tuple[str, ...]:
    """Return the lines of sources.list for `suite`."""
    debian, security = mirror("debian"), mirror("debian-security")
    return (f"deb {debian} {suite} main", f"deb {debian} {suite}-updates main", f"deb {security} {suite}-security main")


def digest(*inputs: str | bytes | Path) -> str:
    """Return 12 hex digits that change with any of `inputs`; a path stands for its content."""
    total = hashlib.sha256()
    for each in inputs:
        data = each.read_bytes() if isinstance(each, Path) else each.encode() if isinstance(each, str) else each
        total.update(hashlib.sha256(data).digest())
    return total.hexdigest()[:12]


def tar(name: str, suite: str, *options: str) -> Path:
    """Return a tar of a new Debian, downloaded once: it is what is worth caching."""
    path = home() / "cache" / f"{name}-{digest(suite, *options, *sources(suite))}.tar"
    with locked(home() / f"cache-{name}.lock"):
        if not path.exists():
            path.parent.mkdir(exist_ok=True)
            part = path.with_suffix(".part")
            # A folder of ours, so that what a killed run left in it goes with the next one.
            scratch = path.parent / f"scratch-{name}"
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            command: tuple[Argument, ...] = (
                "mmdebstrap",
                "--quiet",
                "--format=tar",
                "--dpkgopt=force-unsafe-io",
                *options,
                suite,
                part,
            )
            environment = {**os.environ, "TMPDIR": str(scratch)}
            retry(lambda: run(*command, *sources(suite), timeout_s=600, env=environment))
            shutil.rmtree(scratch, ignore_errors=True)
            for old in path.parent.glob(f"{name}-*.tar"):
                old.unlink()
            part.rename(path)
    return path


def authorities() -> tuple[Path, ...]:
    """Return the certificate authorities that were added to this machine: what it trusts, its hosts must trust too."""
    return tuple(sorted(Path("/usr/local/share/ca-certificates").glob("**/*.crt")))
