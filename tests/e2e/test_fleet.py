"""A fleet of real hosts at once: two that are there, and one that is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from otobotctl.converge.engine import HostResult, converge_host
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.model import Stage, Step
from otobotctl.transport.ssh import open_door
from otobotctl.transport.target import Settings, Target
from otobotctl.workflows.parallel import Limits, each_host
from tests.e2e.operator import Operator
from tests.lab.host import Host
from tests.lab.lab import Lab
from tests.lab.shell import until

SETTINGS = Settings(persist_s=0)


@dataclass
class Fleet:
    """An operator's fleet: `hosts` by their names; "gone" is a third one that nobody can reach."""

    operator: Operator
    hosts: dict[str, Host]


@pytest.fixture(scope="module")
def fleet(lab: Lab, tmp_path_factory) -> Iterator[Fleet]:
    """Two bare hosts, and a name whose port is closed."""
    hosts: dict[str, Host] = {}
    try:
        for name in ("vps-1", "vps-2"):
            hosts[name] = lab.make("bare")
        operator = Operator(tmp_path_factory.mktemp("operator"))
        operator.init()
        for name, host in hosts.items():
            operator.add_host(name, host)
        gone = hosts["vps-1"].address
        operator.run("host", "add", "gone", "--address", gone, "--user", "ubuntu", "--port", "1", "--tag", "lost")
        yield Fleet(operator, hosts)
    finally:
        for host in hosts.values():
            lab.destroy(host)


class Heard:
    def __init__(self):
        self.records = []

    def event(self, record):
        self.records.append(record)


def test_status_is_one_execution_a_host_and_shows_the_one_that_is_gone(fleet, tmp_path):
    """Exit code 3; facts of both hosts, counted by their own sshd; the same in a page."""
    for host in fleet.hosts.values():
        host.mark_sessions()
    page = tmp_path / "status.html"
    done = fleet.operator.run("status", "--json", "--html", str(page), check=False)
    assert done.returncode == 3
    found = {host["host"]: host for host in json.loads(done.stdout)["data"]["hosts"]}
    assert found["gone"]["state"] == "unreachable"
    assert found["gone"]["error"]["code"] == 13
    for name, host in fleet.hosts.items():
        machine = found[name]["machine"]
        assert "Debian GNU/Linux 13" in machine["system"]
        assert machine["memory"]["total"] > machine["memory"]["available"] > 0
        assert machine["disks"][0]["path"] == "/"
        assert machine["docker_error"] is None
        assert found[name]["error"] is None
        until(lambda counted=host: counted.sessions() == 1, f"{name}: one execution", 60)
    assert all(name in page.read_text() for name in ("vps-1", "vps-2", "gone"))


def test_the_only_host_that_is_asked_gives_its_own_code(fleet):
    """13 where it cannot be reached, 0 where it can."""
    assert fleet.operator.run("status", "--tag", "lost", check=False).returncode == 13
    assert "vps-2" in fleet.operator.run("status", "vps-2").stdout


def test_drift_of_hosts_that_nobody_provisioned_yet(fleet):
    """Exit code 4 for a nightly job: each host's steps that differ, and the one that could not be looked at."""
    done = fleet.operator.run("host", "drift", "--all", "--json", check=False)
    assert done.returncode == 4
    envelope = json.loads(done.stdout)
    assert envelope["error"]["code"] == 4
    found = {host["host"]: host for host in envelope["data"]["hosts"]}
    assert {name: host["state"] for name, host in found.items()} == {
        "vps-1": "differs", "vps-2": "differs", "gone": "failed",
    }  # fmt: skip
    assert found["vps-1"]["steps"]
    assert [step["name"] for step in found["vps-1"]["steps"]] == [step["name"] for step in found["vps-2"]["steps"]]


def test_a_canary_that_is_gone_leaves_the_others_untouched(fleet):
    """Exit code 3, a line a host, and nobody else is contacted."""
    for host in fleet.hosts.values():
        host.mark_sessions()
    done = fleet.operator.run("host", "apply", "gone", "vps-1", "vps-2", "--canary", "1", check=False)
    assert done.returncode == 3
    assert "gone: exit 13" in done.stderr
    assert "vps-1: not started: canary gone failed" in done.stderr
    assert [host.sessions() for host in fleet.hosts.values()] == [0, 0]


def test_hosts_converge_side_by_side_and_a_second_time_costs_one_look(fleet, tmp_path):
    """Through the engine and real ssh, in threads: each host changes once, fails alone, and is resumed."""

    def target(name: str) -> Target:
        host = fleet.hosts[name]
        known = tmp_path / name
        known.write_text("".join(f"{name} {key}\n" for key in host.host_keys()))
        return Target(name, host.address, host.user, host.port, known_hosts=known, identity=host.key)

    def stages(name: str) -> tuple[Stage, ...]:
        steps = [Step("files/motd", spec_class("file")(path="/etc/otobot-motd", content=f"{name}\n", mode="0644"))]
        return (Stage("files", tuple(steps)),)

    targets = {name: target(name) for name in fleet.hosts}

    def work(name: str, listener) -> HostResult:
        opener = lambda: open_door(targets[name], settings=SETTINGS)  # noqa: E731
        return converge_host(opener, stages(name), who="operator@here", listener=listener)

    for host in fleet.hosts.values():
        host.ssh("rm -f /etc/otobot-motd", user="root")
    heard = Heard()
    first = each_host(tuple(targets), work, Limits(parallel=2), heard)
    assert [outcome.error for outcome in first] == [None, None]
    assert [outcome.result.changed for outcome in first] == [("files/motd",), ("files/motd",)]
    assert [outcome.result.executions for outcome in first] == [2, 2]
    assert {record["host"] for record in heard.records if record["event"] == "step_end"} == set(targets)
    fleet.hosts["vps-2"].ssh("rm /etc/otobot-motd", user="root")
    again = each_host(tuple(targets), work, Limits(parallel=2), Heard())
    assert [outcome.error for outcome in again] == [None, None]
    assert [outcome.result.changed for outcome in again] == [(), ("files/motd",)]
    assert [outcome.result.executions for outcome in again] == [1, 2]
    assert fleet.hosts["vps-2"].ssh("cat /etc/otobot-motd", user="root").stdout == "vps-2\n"
