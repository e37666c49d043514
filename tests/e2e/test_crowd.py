"""Twenty hosts at once, all as they should be: what that costs, counted. Times are in benchmarks/fleet.py."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks import crowd
from tests.lab.light import LightHost
from tests.lab.shell import until

KEPT_S = 60
MEMORY_MB = 200

# The agent looks for programs here first.
_COUNTED = """#!/bin/sh
echo >> /run/counted
exec /usr/bin/dpkg-query "$@"
"""
_SSH = """#!/bin/sh
case "$*" in *" -O exit "*) echo end ;; *) echo run ;; esac >> {log}
exec {ssh} "$@"
"""


@dataclass
class Fleet:
    """Twenty provisioned hosts, and an ssh that writes down each time it is started."""

    crowd: crowd.Crowd
    log: Path

    def started(self) -> list[str]:
        """What every ssh since this was last asked was for: to run something, or to end a connection."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        self.log.unlink(missing_ok=True)
        return lines


@pytest.fixture(scope="module")
def fleet(light_hosts, tmp_path_factory):
    """All twenty made what the fleet says."""
    work = Path(tmp_path_factory.mktemp("c"))
    found = crowd.Crowd(work, light_hosts, crowd.LIGHT)
    found.provision()
    log, programs = work / "ssh.log", work / "bin"
    programs.mkdir()
    real = next(path for folder in os.get_exec_path() if os.access(path := f"{folder}/ssh", os.X_OK))
    (programs / "ssh").write_text(_SSH.format(log=log, ssh=real))
    (programs / "ssh").chmod(0o755)
    found.path = f"{programs}:{os.environ['PATH']}"
    yield Fleet(found, log)
    found.forget()


def sessions(host: LightHost) -> int:
    """How many programs ssh was asked for, by sshd's own log."""
    return (host.directory / "log").read_text(errors="replace").count("Starting session:")


def test_a_look_at_twenty_hosts_is_one_execution_and_one_ssh_each(fleet):
    """Over connections that are open: no second process, no second session, and little memory."""
    fleet.crowd.apply(20, KEPT_S)  # logs in
    fleet.started()
    before = [sessions(host) for host in fleet.crowd.hosts]
    done = fleet.crowd.apply(20, KEPT_S)
    assert fleet.started() == ["run"] * 20
    for host, earlier in zip(fleet.crowd.hosts, before, strict=True):
        until(lambda at=host, been=earlier: sessions(at) == been + 1, "one session a host", 60)
    assert done.peak_rss_mb < MEMORY_MB


def test_twenty_new_logins_cost_one_ssh_each_and_one_that_ends_the_connection(fleet):
    """With sharing switched off nothing is left open, and the memory is as little."""
    fleet.crowd.forget()
    fleet.started()
    done = fleet.crowd.apply(20, 0)
    assert sorted(fleet.started()) == ["end"] * 20 + ["run"] * 20
    assert done.peak_rss_mb < MEMORY_MB


def test_questions_about_packages_start_no_program(fleet):
    """The playbook asks in two steps; dpkg's own record answers, and dpkg-query is there for what it cannot tell."""
    host = fleet.crowd.hosts[0]
    steps = [step for stage in crowd.playbook()["stages"] for step in stage["steps"] if "package" in step]
    assert len(steps) > 1
    host.ssh("cat > /usr/local/bin/dpkg-query; chmod 755 /usr/local/bin/dpkg-query", input=_COUNTED, user="root")
    host.ssh("rm -f /run/counted /var/lib/dpkg/updates/0000", user="root")  # of a first try
    fleet.crowd.apply(20, 0)
    assert host.ssh("cat /run/counted", user="root", check=False).stdout == ""
    host.ssh("touch /var/lib/dpkg/updates/0000", user="root")  # as dpkg does while it works
    fleet.crowd.apply(20, 0)
    assert host.ssh("wc -l < /run/counted", user="root").stdout.strip() == "1"
