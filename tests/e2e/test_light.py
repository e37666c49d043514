"""The engine where the whole lab cannot be had: a light host has sshd, sudo and files, and no systemd."""

from __future__ import annotations

import pytest

from otobotctl.errors import StepFailedError
from otobotctl.plan.kinds import spec_class
from otobotctl.plan.model import Step
from tests.e2e.driver import Way, command_step, converge, file_step, stage


def test_a_light_host_is_converged_and_then_costs_one_execution(light_host, tmp_path):
    """Files, links, groups and commands as on any host; a failing step ends the run with its own words."""
    way = Way.to(light_host, tmp_path / "way")
    wanted = stage(
        "one",
        Step("one/root", spec_class("directory")(path="/srv/light", mode="0755")),
        file_step("one/file", "/srv/light/a", "A\n"),
        Step("one/link", spec_class("symlink")(path="/srv/light/b", target="a")),
        Step("one/group", spec_class("group")(name="light")),
        command_step("one/command", "getent group light > /srv/light/c", "/srv/light/c"),
    )
    first = converge(way, wanted)
    assert first.executions == 2
    assert len(first.changed) == 5
    assert light_host.ssh("cat /srv/light/b; cut -d: -f1 /srv/light/c").stdout.split() == ["A", "light"]
    again = converge(way, wanted)
    assert (again.executions, again.changed) == (1, ())
    failing = stage("two", command_step("two/bad", "echo its own words >&2; exit 3", "/srv/light/never"))
    with pytest.raises(StepFailedError) as caught:
        converge(way, failing)
    assert "its own words" in caught.value.details
