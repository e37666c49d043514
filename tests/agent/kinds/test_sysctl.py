"""Kernel settings: where a key is, and what is told when the kernel refuses."""

import os

import pytest

from otobotctl.agent import files
from otobotctl.agent.kinds import sysctl
from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import Answer


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
        ("net.ipv4.conf.eth0/100.rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
        ("net/ipv4/conf/eth0.100/rp_filter", "net/ipv4/conf/eth0.100/rp_filter"),
    ],
)
def test_the_separator_met_first_is_the_separator(key, path):
    """As sysctl.d(5) has it, so that a VLAN's name can hold a dot."""
    assert sysctl.key_path(key) == path


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A tree that stands for /proc/sys."""
    (tmp_path / "vm").mkdir()
    (tmp_path / "vm/swappiness").write_text("60\n")
    (tmp_path / "vm/triple").write_text("1\t2\t3\n")
    monkeypatch.setattr(sysctl, "PROC", str(tmp_path))
    monkeypatch.setattr(files, "uid_of", lambda _name: os.getuid())
    monkeypatch.setattr(files, "gid_of", lambda _name: os.getgid())
    return tmp_path


def test_probe_reads_the_file_and_the_live_values(kernel):
    """Blanks are made single; what is not there is None."""
    facts = sysctl.probe({"path": str(kernel / "x.conf"), "keys": ["vm.swappiness", "vm.triple", "vm.none"]})
    live = {"vm.swappiness": "60", "vm.triple": "1 2 3", "vm.none": None}
    assert facts == {"content": None, "live": live, "fixed": ["vm.none"]}


def test_a_value_that_did_not_take_is_named(kernel, monkeypatch):
    """With what it is instead, and what sysctl said; the keys that took are not blamed."""
    monkeypatch.setattr(sysctl, "ask", lambda argv: Answer(1, "", 'sysctl: permission denied on key "vm.swappiness"\n'))
    said = []
    settings = {"vm.swappiness": "10", "vm.triple": "1 2 3"}
    params = {"path": str(kernel / "x.conf"), "keys": list(settings), "content": "...", "settings": settings}
    with pytest.raises(StepError, match=r"vm.swappiness \(it is 60\)") as caught:
        sysctl.apply(params, Run(said.append))
    assert "triple" not in str(caught.value)
    assert said == ['sysctl: permission denied on key "vm.swappiness"']


def test_an_optional_key_that_cannot_be_written_is_told_and_not_failed(kernel, monkeypatch):
    """One that can be written and did not take still fails."""
    monkeypatch.setattr(sysctl, "ask", lambda argv: Answer(1, "", ""))
    said = []
    settings = {"vm.none": "1", "vm.triple": "1 2 3"}
    params = {"path": str(kernel / "x.conf"), "keys": list(settings), "content": "...", "settings": settings}
    sysctl.apply({**params, "optional": True}, Run(said.append))
    assert said == ["this host cannot set vm.none (it is unknown to this kernel)"]
    with pytest.raises(StepError, match=r"vm.swappiness \(it is 60\)"):
        sysctl.apply({**params, "settings": {"vm.swappiness": "10"}, "optional": True}, Run(said.append))
