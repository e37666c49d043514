"""When apt's index is old, whose lock is waited for, what an install does: against fake programs in a PATH of their own."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from otobotctl.agent import apt, dpkg
from otobotctl.agent.kinds import package
from otobotctl.agent.run import Run, StepError


@pytest.fixture(autouse=True)
def system(tmp_path, monkeypatch):
    """Paths of apt and dpkg in a directory of their own."""
    for name in ("state/stamps", "sources.list.d", "keyrings"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "sources.list").write_text("")
    sources = tuple(str(tmp_path / name) for name in ("sources.list", "sources.list.d", "keyrings"))
    monkeypatch.setattr(apt, "STAMP", str(tmp_path / "state/stamps/apt-update"))
    monkeypatch.setattr(apt, "SOURCES", sources)
    monkeypatch.setattr(apt, "INDEX_LOCK", str(tmp_path / "index-lock"))
    monkeypatch.setattr(apt, "DPKG_LOCK", str(tmp_path / "dpkg-lock"))
    for path in (*sources, str(tmp_path)):
        os.utime(path, (1_000_000_000, 1_000_000_000))
    return tmp_path


class Fake(Run):
    """A host with some packages; takes down what ran."""

    def __init__(self, monkeypatch, known=(), after_refresh=(), there=(), installs=True):
        super().__init__(lambda line: None)
        self.ran, self.known, self.there = [], set(known), set(there)
        self.after_refresh, self.installs = set(after_refresh), installs
        monkeypatch.setattr(apt, "installed", lambda names: {name: "1" for name in names if name in self.there})
        monkeypatch.setattr(apt, "candidates", lambda names: {name for name in names if name in self.known})
        monkeypatch.setattr(apt, "_interrupted", lambda: False)

    def command(self, argv, stdin=None, env=None, cwd=None):
        words = [word for word in argv if not word.startswith("-")]
        self.ran.append(" ".join(words))
        if words[1] == "update":
            self.known |= self.after_refresh
        if words[1] == "install" and self.installs:
            self.there.update(words[2:])
        return ""


def stamp(age_s):
    Path(apt.STAMP).touch()
    os.utime(apt.STAMP, (time.time() - age_s, time.time() - age_s))


def test_a_fresh_index_is_not_read_again(monkeypatch):
    """One command for an install on a fresh index; none when all is there."""
    stamp(60)
    run = Fake(monkeypatch, known={"curl"})
    package.apply({"names": ["curl"]}, run)
    package.apply({"names": ["curl"]}, run)
    assert run.ran == ["apt-get install curl"]


@pytest.mark.parametrize("age_s", [90_000, -90_000, None])
def test_an_old_index_is_read_first(system, monkeypatch, age_s):
    """Older than a day, never read, or a stamp of the future after a moved clock."""
    if age_s is not None:
        stamp(age_s)
    run = Fake(monkeypatch, known={"curl"})
    package.apply({"names": ["curl"]}, run)
    assert run.ran == ["apt-get update", "apt-get install curl"]
    assert not apt.index_is_stale(apt.REFRESH_S)


def test_the_stamp_is_roots_alone(system, monkeypatch):
    """Its folders are made private where a first run has none."""
    monkeypatch.setattr(apt, "STAMP", str(system / "new/stamps/apt-update"))
    apt.refresh(Fake(monkeypatch))
    assert [stat.S_IMODE((system / name).stat().st_mode) for name in ("new", "new/stamps")] == [0o700, 0o700]


@pytest.mark.parametrize("touched", ["sources.list.d/docker.sources", "keyrings/docker.gpg"])
def test_a_touched_source_makes_the_index_old(system, touched):
    """A repository or a key written after the last refresh counts, and so does one taken away."""
    stamp(60)
    assert not apt.index_is_stale(apt.REFRESH_S)
    (system / touched).write_text("x")
    assert apt.index_is_stale(apt.REFRESH_S)
    stamp(0)
    os.utime(system / touched, (1, 1))
    os.utime((system / touched).parent, (1, 1))
    assert not apt.index_is_stale(apt.REFRESH_S)
    (system / touched).unlink()
    os.utime((system / touched).parent, (time.time() + 5, time.time() + 5))
    assert apt.index_is_stale(apt.REFRESH_S)


def test_an_unknown_name_makes_a_fresh_index_read_again(monkeypatch):
    """Once; a name that is unknown even then is an error with a way out."""
    stamp(60)
    run = Fake(monkeypatch, known={"curl"}, after_refresh={"new"})
    package.apply({"names": ["curl", "new"]}, run)
    assert run.ran == ["apt-get update", "apt-get install curl new"]
    with pytest.raises(StepError, match="apt knows no package nosuch; check the name, or add an apt_repository"):
        package.apply({"names": ["nosuch"]}, run)


def test_alternatives(monkeypatch):
    """The first one that apt knows is installed; any one of them that is there will do."""
    stamp(60)
    run = Fake(monkeypatch, known={"docker-compose", "third"})
    package.apply({"names": ["docker-compose-v2|docker-compose|third"]}, run)
    package.apply({"names": ["docker-compose-v2|docker-compose"]}, run)
    assert run.ran == ["apt-get install docker-compose"]


def test_a_virtual_package_is_an_error(monkeypatch):
    """It would never count as installed, so every later plan would differ."""
    stamp(60)
    with pytest.raises(StepError, match="awk is not a package of its own"):
        package.apply({"names": ["awk"]}, Fake(monkeypatch, known={"awk"}, installs=False))


def test_removal(monkeypatch):
    """Only what is there is removed, of every alternative; nothing there runs nothing."""
    run = Fake(monkeypatch, there={"b", "c"})
    package.apply({"names": ["a|b", "c"], "state": "absent"}, run)
    package.apply({"names": ["a"], "state": "absent"}, run)
    assert run.ran == ["apt-get remove b c"]


def test_apt_is_told_how_to_behave(monkeypatch):
    """It waits for its lock, keeps changed configuration files, and removes nothing to make room."""
    stamp(60)
    run = Fake(monkeypatch, known={"curl"})
    said = []
    monkeypatch.setattr(run, "command", lambda argv, **more: (said.append(argv), run.there.add("curl")))
    package.apply({"names": ["curl"]}, run)
    assert {
        "--yes",
        "--no-install-recommends",
        "--no-remove",
        "--option=DPkg::Lock::Timeout=300",
        "--option=Dpkg::Options::=--force-confdef",
        "--option=Dpkg::Options::=--force-confold",
    } <= set(said[0])


def test_an_interrupted_dpkg_is_repaired_first(monkeypatch):
    """Before the install, and only where something was interrupted."""
    stamp(60)
    run = Fake(monkeypatch, known={"curl"})
    monkeypatch.setattr(apt, "_interrupted", lambda: True)
    ran = []

    def command(argv, **more):
        ran.append(argv)
        run.there.add("half-done" if argv[0] == "dpkg" else "curl")

    monkeypatch.setattr(run, "command", command)
    package.apply({"names": ["curl", "half-done"]}, run)
    assert ran[0][0] == "dpkg"
    assert "--configure" in ran[0]
    assert [ran[1][0], ran[1][-1]] == ["apt-get", "curl"]
    assert "half-done" not in ran[1]


def test_a_lock_that_another_process_holds_is_waited_for(system, monkeypatch):
    """The wait ends when the other process does."""
    path = system / "index-lock"
    path.touch()
    program = "import fcntl,sys; f=open(sys.argv[1],'r+'); fcntl.lockf(f, fcntl.LOCK_EX); print(flush=True); input()"
    said = []
    with subprocess.Popen([sys.executable, "-c", program, path], stdin=-1, stdout=-1) as holder:
        assert holder.stdout.readline()
        assert apt._held(str(path))
        monkeypatch.setattr(time, "sleep", lambda seconds: holder.communicate(b"\n"))
        apt._wait_for(str(path), Run(said.append))
    assert said == ["waiting for another apt or dpkg"]
    assert not apt._held(str(path))


def test_a_lock_held_for_ever_is_told(system, monkeypatch):
    """After five minutes the step fails and names the lock."""
    monkeypatch.setattr(apt, "_held", lambda path: True)
    monkeypatch.setattr(apt, "LOCK_S", -1)
    with pytest.raises(StepError, match="see `fuser /x`"):
        apt._wait_for("/x", Run(lambda line: None))


@pytest.fixture
def answers(monkeypatch):
    """Sets what dpkg-query or apt-cache answers."""
    from otobotctl.agent.shell import Answer

    def given(status, stdout):
        monkeypatch.setattr(dpkg, "installed", lambda _names: None)  # where only dpkg-query can tell
        monkeypatch.setattr(apt, "ask", lambda argv: Answer(status, stdout, ""))

    return given


def test_what_dpkg_says(answers):
    """Installed, or waiting for a trigger; not unpacked, half configured or removed with its configuration left."""
    answers(1, "ii \ta\t1\nhi \tb\t2\nrc \tc\t3\niU \td\t4\niF \te\t5\niW \tf\t6\nun \tg\t\n")
    assert apt.installed(["a", "b", "c", "d", "e", "f", "g"]) == {"a": "1", "b": "2", "f": "6"}


def test_what_apt_says(answers):
    """A candidate counts; one that is only known by name does not."""
    answers(0, "a:\n  Installed: (none)\n  Candidate: 1\n  Version table:\n     1 500\nb:\n  Candidate: (none)\n")
    assert apt.candidates(["a", "b", "c"]) == {"a"}
