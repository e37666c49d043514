"""restic that is started before there are bytes for it, and what nobody gave it must never become."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from otobotctl.agent.backup import held
from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.agent.backup.under_way import UnderWay
from tests.agent.backup.hosts import TOP
from tests.waiting import until

ENV = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/root")}
WHOLE = json.dumps({"parts": ["x" * 50] * 10000}).encode()  # more than a socket takes at once
# Starts one, and is at a moment when it is killed.
_DIES = """
import json, os, sys, time
from pathlib import Path
from otobotctl.agent.backup.restic import Restic
repository, key, moment = sys.argv[1:]
target = {"name": "disk", "repository": repository, "environment": {}, "options": [], "append_only": False}
held = Restic(target, key).held("/archive.json", ["archive=1"], "acme")
locks = Path(repository) / "locks"
if moment != "started":
    while not any("-tmp" not in each.name for each in locks.iterdir()):
        time.sleep(0.01)
if moment == "half is written":
    held._feed.sendall(b"{" * 100000)
print(held._reader.pid, flush=True)
time.sleep(1000)
"""


def place(restic: Restic) -> Path:
    """The directory of its repository."""
    return Path(restic._env["RESTIC_REPOSITORY"])


def locks(restic: Restic) -> list[Path]:
    """Who is at work in the repository."""
    return [each for each in (place(restic) / "locks").iterdir() if "-tmp" not in each.name]


def test_what_comes_later_is_the_whole_snapshot(restic: Restic) -> None:
    """Under its name, host and tags, however large it is; restic had begun before."""
    waiting = restic.held("/archive.json", ["archive=1"], "acme")
    until(lambda: locks(restic))
    saved = waiting.finish(WHOLE)
    waiting.close()
    (only,) = restic.snapshots()
    assert only["id"].startswith(saved.snapshot)
    assert (only["hostname"], only["tags"], only["paths"]) == ("acme", ["archive=1"], ["/archive.json"])
    assert restic.read(saved.snapshot, "/archive.json").encode() == WHOLE


def test_one_that_is_not_finished_leaves_nothing(restic: Restic) -> None:
    """As of an archive one of whose parts failed."""
    waiting = restic.held("/archive.json", ["archive=1"], "acme")
    until(lambda: locks(restic))
    waiting.close()
    assert restic.snapshots() == []


@pytest.mark.parametrize("moment", ["started", "restic waits", "half is written"])
def test_a_run_that_is_killed_leaves_no_head(restic: Restic, moment: str) -> None:
    """Not an empty one, and not half of one: its death ends restic, and is no end of what restic reads."""
    argv = [sys.executable, "-c", _DIES, str(place(restic)), restic._env["RESTIC_PASSWORD_FILE"], moment]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, env={"PYTHONPATH": str(TOP), **ENV}) as run:
        assert run.stdout is not None
        other = Path("/proc", run.stdout.readline().strip())
        assert other.is_dir()
        run.kill()
    until(lambda: not other.exists() or "Z" in (other / "stat").read_text().rpartition(")")[2].split()[0])

    def unlocked() -> bool:  # once the system has taken in what became of it
        restic.run("unlock")
        return not locks(restic)

    until(unlocked)
    assert restic.snapshots() == []


def test_who_is_orphaned_before_the_kernel_knows_is_not_started() -> None:
    """The parent that was to be tied to is another one by then."""
    assert subprocess.run([*held._TIED, "1", "echo", "started"], capture_output=True, check=False).stdout == b""


def test_one_that_died_while_it_waited_costs_no_archive(restic: Restic) -> None:
    """A line to a target may break in hours: archive.json is saved by another one then."""
    with UnderWay(restic, "20261121T020003Z-9f31", lambda _: None) as under_way:
        under_way.begin_head(["reason=manual"])
        assert under_way._head is not None
        under_way._head._reader.kill()
        under_way.head(WHOLE, ["reason=manual"])
    (only,) = restic.snapshots()
    assert only["tags"] == ["archive=20261121T020003Z-9f31", "reason=manual"]
    assert restic.read(only["id"], "/archive.json").encode() == WHOLE


def test_a_host_without_what_ties_it_saves_the_head_at_the_end(restic: Restic, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it was before."""
    monkeypatch.setattr(held, "_TIED", ("no-such-program",))
    with UnderWay(restic, "20261121T020003Z-9f31", lambda _: None) as under_way:
        under_way.begin_head([])
        assert under_way._head is None
        under_way.head(b"{}", [])
    assert len(restic.snapshots()) == 1


def test_a_target_that_does_not_take_it_is_told(restic: Restic) -> None:
    """By the error of the second one, which has none of the first's excuses."""
    with UnderWay(restic, "20261121T020003Z-9f31", lambda _: None) as under_way:
        (place(restic) / "config").rename(place(restic) / "gone")
        under_way.begin_head([])
        with pytest.raises(ResticError) as told:
            under_way.head(b"{}", [])
    assert told.value.kind == "absent"
