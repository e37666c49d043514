"""The agent as it travels: one archive, the same bytes for the same sources, and the command that boots it."""

from __future__ import annotations

import hashlib
import os
import sys
import threading
from functools import cache
from pathlib import Path

from otobotctl import agent
from otobotctl.agent.protocol import RUNTIME_DIR, STATE_DIR

PROMPT = b"otobotctl-wants-the-sudo-password"
NO_SUDO = 87  # exit statuses of the scripts below
NO_PYTHON = 88
OLD_PYTHON = 89  # of boot.py

_ROOM = "otobotctl/agent"
_MAKING = threading.Lock()
_LOCAL = "boot.py"  # travels as the command itself

_PYTHON = "python3 -I -S -X utf8 -c"

# Runs as root: $1 is the boot text. A host without Python gets it first; its package manager must neither read our
# stdin nor write into our stdout, and beats while it works.
_AS_ROOT = f"""command -v python3 >/dev/null || {{
(while sleep 3 >/dev/null 2>&1; do echo '{{"beat":true}}'; done) & beat=$!
{{ apt-get update -q
DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends python3; }} </dev/null >&2
status=$?; kill $beat; [ $status = 0 ] || exit {NO_PYTHON}; }}
exec {_PYTHON} "$@\""""

# Leaves in "$@" what root is to run: Python itself where it is, without one more shell around it. $u is who we are, by
# the kernel's file where there is one: `id` would be a process.
_BEGIN = f"""if [ -x /usr/bin/python3 ]; then shift 2; set -- {_PYTHON} "$@"; else set -- sh -c "$@"; fi
u=; while read -r k _ u _; do [ "$k" != Uid: ] || break; done 2>/dev/null </proc/self/status
[ "${{u:-$(id -u)}}" != 0 ] || exec "$@"
"""
# Asks once more only to tell a sudo that refuses from an agent that failed.
_WITHOUT_PASSWORD = f"""{_BEGIN}sudo -n "$@"; status=$?
[ $status = 0 ] || sudo -n true 2>/dev/null || exit {NO_SUDO}
exit $status"""
# sudo's prompt comes on stderr; in our stdout it tells when the password is wanted, and that it was wrong.
_WITH_PASSWORD = f"""{_BEGIN}exec sudo -S -p '{PROMPT.decode()}
' "$@" 2>&1"""


def command(*, with_password: bool) -> tuple[str, ...]:
    """The argv of every execution; it holds no secret."""
    script = _WITH_PASSWORD if with_password else _WITHOUT_PASSWORD
    return ("sh", "-c", script, "otobot", _AS_ROOT, "otobot", boot_text(), digest(), STATE_DIR, RUNTIME_DIR)


def own_command(place: Path) -> tuple[str, ...]:
    """The argv of an execution on this machine as whoever calls, with everything that it keeps below `place`."""
    python = (sys.executable, *_PYTHON.split()[1:])
    return (*python, boot_text(), digest(), str(place), str(place / "run"))


@cache
def boot_text() -> str:
    """The program that `python3 -c` gets, without its docstring."""
    return (_directory() / _LOCAL).read_text(encoding="utf-8").split('"""', 2)[2].strip()


@cache
def digest() -> str:
    """Names these very sources; the host keeps an agent under it."""
    found = hashlib.sha256()
    for name, data in sources().items():
        found.update(f"{name}\0{len(data)}\0".encode() + data)
    return found.hexdigest()[:20]


def archive() -> bytes:
    """The sources as boot.py reads them after {"need": "agent"}: a line with the length, then a compressed zip.

    Made once, whoever asks: each host of a fleet is a thread, and Python 3.11 counts how deep a parser of its own
    language is for all threads together, so that two at once end with SystemError (python/cpython#106905).
    """
    with _MAKING:
        return _archive()


@cache
def _archive() -> bytes:
    import io
    import zipfile
    import zlib

    from otobotctl.converge.lean import lean

    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as packed:  # compressed as a whole: a third smaller
        for name, data in sources().items():
            packed.writestr(zipfile.ZipInfo(name), lean(data.decode()).encode())
    squeezed = zlib.compress(stream.getvalue(), 9)
    return b"%d\n" % len(squeezed) + squeezed


@cache
def sources() -> dict[str, bytes]:
    """Path in the archive -> text, in the order of the paths."""
    found = {"otobotctl/__init__.py": b""}  # the operator's half of the package stays at home
    top = _directory()
    for folder, folders, names in os.walk(top):
        folders[:] = [name for name in folders if name != "__pycache__"]
        place = Path(folder)
        for name in names:
            if name.endswith(".py") and name != _LOCAL:
                relative = (place / name).relative_to(top).as_posix()
                found[f"{_ROOM}/{relative}"] = (place / name).read_bytes()
    return dict(sorted(found.items()))


def _directory() -> Path:
    return Path(agent.__path__[0])
