"""A change on trial: the script that takes it back is run for real, systemd is not."""

import os
import subprocess
from pathlib import Path

import pytest

from otobotctl.agent import files, sshd, trial
from otobotctl.agent.run import Run, StepError


class Recorded(Run):
    """Runs what is no call of systemctl."""

    def __init__(self):
        super().__init__(lambda _text: None)
        self.asked = []

    def command(self, argv, stdin=None, env=None, cwd=None):
        self.asked.append(" ".join(argv))
        return "" if argv[0] == "systemctl" else super().command(argv, stdin, env, cwd)


@pytest.fixture
def host(tmp_path, monkeypatch):
    """A directory with a file `setting` that is put back to what it was when the trial is lost."""
    monkeypatch.setattr(trial, "STATE", str(tmp_path / "trials"))
    monkeypatch.setattr(trial, "UNITS", str(tmp_path))
    monkeypatch.setattr(files, "uid_of", lambda _name: os.getuid())
    monkeypatch.setattr(files, "gid_of", lambda _name: os.getgid())
    (tmp_path / "setting").write_text("old")
    return tmp_path


def arm(host, run):
    body = f"if [ -e previous ]; then cp previous {host}/setting; else rm -f {host}/setting; fi"
    trial.arm("door", 30, body, run, keeps=str(host / "setting"))


def fire():
    """What the timer's service does."""
    assert subprocess.run(["/bin/sh", f"{trial.STATE}/door/restore"]).returncode == 0


def test_without_a_login_what_was_before_comes_back(host):
    """Once; and the facts say when."""
    run = Recorded()
    arm(host, run)
    (host / "setting").write_text("new")
    trial.loaded("door")
    assert trial.facts("door") == {"armed": True, "loaded": True, "restored": ""}
    assert run.asked[-1] == "systemctl restart otobot-trial-door.timer"
    assert "OnActiveSec=30" in (host / "otobot-trial-door.timer").read_text()
    fire()
    assert (host / "setting").read_text() == "old"
    assert trial.facts("door")["restored"].startswith("20")
    (host / "setting").write_text("by hand")
    fire()
    assert (host / "setting").read_text() == "by hand"
    with pytest.raises(StepError, match="door was taken back at 20"):
        trial.confirm("door", run)


def test_a_change_that_was_too_slow_is_taken_back_all_the_same(host):
    """The timer fired before all of the change was made: nothing is left that no timer watches."""
    run = Recorded()
    arm(host, run)
    fire()
    (host / "setting").write_text("new")
    with pytest.raises(StepError, match="took longer"):
        trial.loaded("door")
    trial.take_back("door", run)
    assert (host / "setting").read_text() == "old"
    assert trial.names() == []


def test_a_file_that_was_not_there_goes_again(host):
    """Nothing before is something to come back to as well."""
    (host / "setting").unlink()
    arm(host, Recorded())
    (host / "setting").write_text("new")
    fire()
    assert not (host / "setting").exists()


def test_a_change_of_a_change_on_trial_goes_back_to_what_was_proved(host):
    """The second arming keeps what the first one kept."""
    run = Recorded()
    arm(host, run)
    (host / "setting").write_text("new")
    arm(host, run)
    (host / "setting").write_text("newer")
    fire()
    assert (host / "setting").read_text() == "old"


def test_a_way_back_that_was_cut_short_is_taken_up(host, monkeypatch):
    """A power cut in the middle of it: the next firing goes on, and no login can claim the change meanwhile."""
    monkeypatch.setattr(trial, "_PATIENCE_S", 1)
    arm(host, Recorded())
    (host / "setting").write_text("new")
    folder = Path(trial.STATE) / "door"
    (folder / "armed").rename(folder / "restoring")
    with pytest.raises(StepError, match="taken back at this moment"):
        trial.confirm("door", Recorded())
    with pytest.raises(StepError, match="being taken back"):
        arm(host, Recorded())
    fire()
    assert (host / "setting").read_text() == "old"


def test_a_new_change_waits_for_the_way_back_to_end(host, monkeypatch):
    """The script's file is not put over what is set now."""
    arm(host, Recorded())
    folder = Path(trial.STATE) / "door"
    (folder / "armed").rename(folder / "restoring")
    monkeypatch.setattr(trial.time, "sleep", lambda _: fire())
    arm(host, Recorded())
    assert (folder / "armed").exists()
    assert (host / "setting").read_text() == "old"


def test_only_a_login_that_began_later_keeps_the_change(host, monkeypatch):
    """One from before is refused and the trial goes on; without SSH there is no login to prove."""
    run = Recorded()
    arm(host, run)
    (host / "setting").write_text("new")
    trial.loaded("door")
    monkeypatch.setattr(sshd, "login_began", lambda: trial._now() - 3600)
    with pytest.raises(StepError, match="older than the change"):
        trial.confirm("door", run)
    assert trial.facts("door")["armed"]
    monkeypatch.setattr(sshd, "login_began", lambda: trial._now() + 1)
    trial.confirm("door", run)
    assert "systemctl disable --quiet --now otobot-trial-door.timer" in run.asked
    assert trial.names() == []
    assert list(host.glob("otobot-trial*")) == []
    assert (host / "setting").read_text() == "new"


def test_the_login_is_the_nearest_sshd_above(monkeypatch):
    """Not the daemon that listens: it may be younger than an open session."""
    table = {os.getpid(): ("python3", 70), 70: ("sudo", 60), 60: ("sshd-session", 50), 50: ("sshd", 1)}

    def status(pid):
        name, parent = table[pid]
        return name, ["S", str(parent), *("0" for _ in range(17)), str(pid * os.sysconf("SC_CLK_TCK")), "0"]

    monkeypatch.setattr(sshd, "_status", status)
    assert sshd.login_began() == 60
    table[70] = ("sudo", 1)
    assert sshd.login_began() is None
