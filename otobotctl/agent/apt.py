"""apt and dpkg, unattended: what is installed, whose lock to wait for, when the index is old."""

from __future__ import annotations

import os
import time
from typing import Dict, List, Sequence, Set

from otobotctl.agent import dpkg
from otobotctl.agent.protocol import STATE_DIR
from otobotctl.agent.run import ProbeError, Run, StepError
from otobotctl.agent.shell import ask

REFRESH_S = 86400
LOCK_S = 300
STAMP = STATE_DIR + "/stamps/apt-update"
SOURCES = ("/etc/apt/sources.list", "/etc/apt/sources.list.d", "/etc/apt/keyrings")
INDEX_LOCK = "/var/lib/apt/lists/lock"
DPKG_LOCK = "/var/lib/dpkg/lock-frontend"
_THERE = ("i", "W", "t")  # the second letter of dpkg's states: installed; waiting for a trigger
_HALF = ("U", "F", "W", "t")  # unpacked or half configured; waiting for a trigger
OPTIONS = (
    "--option=DPkg::Lock::Timeout={}".format(LOCK_S),
    "--option=Dpkg::Options::=--force-confdef",  # a changed configuration file: keep the host's, never ask
    "--option=Dpkg::Options::=--force-confold",
    "--option=Dpkg::Use-Pty=0",
)


def installed(names: Sequence[str]) -> Dict[str, str]:
    """Those of `names` that are fully installed, with their versions. Raises ProbeError."""
    found = dpkg.installed(names) if names else {}
    if found is not None:
        return found
    answer = ask(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\t${Package}\t${Version}\n", "--", *names])
    # Status 1 only says that some are unknown.
    if answer.status not in (0, 1):
        raise ProbeError("dpkg-query failed: {}; is this Debian or Ubuntu?".format(answer.stderr.strip()))
    rows = (line.split("\t") for line in answer.stdout.splitlines())
    return {row[1]: row[2] for row in rows if row[0][1:2] in _THERE}


def candidates(names: Sequence[str]) -> Set[str]:
    """Those of `names` that apt could install now. Raises ProbeError."""
    found, name = set(), ""
    for line in ask(["apt-cache", "policy", "--", *names]).stdout.splitlines():
        if not line.startswith(" "):
            name = line.rstrip(":")
        elif line.startswith("  Candidate:") and line.split()[1] != "(none)":
            found.add(name)
    return found


def index_is_stale(refresh_s: float) -> bool:
    """Whether the index is older than `refresh_s` seconds or than any change of the sources and their keys."""
    last = _changed(STAMP)
    now = time.time()
    if not 0 <= now - last <= refresh_s:  # a stamp of the future says nothing
        return True
    import glob

    paths = [*SOURCES, *(path for folder in SOURCES[1:] for path in glob.glob(folder + "/*"))]
    return any(_changed(path) > last for path in paths)


def _changed(path: str) -> float:
    try:
        return os.stat(path).st_mtime
    except OSError:
        return 0.0


def refresh(run: Run) -> None:
    """Read the index anew. Raises StepError."""
    started = time.time()
    _wait_for(INDEX_LOCK, run)  # apt's own lock timeout does not cover this one
    run.command(["apt-get", "--quiet", "update"])
    for folder in (os.path.dirname(os.path.dirname(STAMP)), os.path.dirname(STAMP)):
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            continue
    with open(STAMP, "w", encoding="utf-8"):
        # The moment it began: a source changed while it ran counts as newer.
        os.utime(STAMP, (started, started))


def command(run: Run, words: List[str]) -> None:
    """Run apt-get. Raises StepError that names what to look at."""
    try:
        run.command(["apt-get", "--yes", "--quiet", *OPTIONS, *words])
    except StepError as error:
        text = "{}: its last lines say why; packages are never removed to make room for others"
        raise StepError(text.format(error)) from error


def repair(run: Run) -> bool:
    """Finish what an interrupted dpkg left half done, and say whether there was something. Raises StepError."""
    if not _interrupted():
        return False
    run.say("dpkg was interrupted; configuring what it left")
    _wait_for(DPKG_LOCK, run)
    run.command(["dpkg", "--force-confdef", "--force-confold", "--configure", "--pending"])
    return True


def _interrupted() -> bool:
    # dpkg's journal: numbered files there make apt-get refuse to work.
    if dpkg.journalled():
        return True
    states = ask(["dpkg-query", "--show", "--showformat=${db:Status-Abbrev}\n"]).stdout.splitlines()
    return any(state[1:2] in _HALF for state in states)


def _wait_for(path: str, run: Run) -> None:
    """Wait until nobody holds apt's lock at `path`. Raises StepError after five minutes."""
    until = time.monotonic() + LOCK_S
    told = False
    while _held(path):
        if time.monotonic() > until:
            raise StepError("another apt or dpkg has held {} for {} s; see `fuser {}`".format(path, LOCK_S, path))
        if not told:
            run.say("waiting for another apt or dpkg")
            told = True
        time.sleep(1)


def _held(path: str) -> bool:
    import fcntl

    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)
