"""From a host of the manifest to the way there."""

from __future__ import annotations

import json

import pytest

from otobotctl.errors import ManifestError
from otobotctl.fleet import Fleet
from otobotctl.workflows.desired import load
from otobotctl.workflows.hosts import target


def loaded(folder, hosts):
    (folder / "clients-config.json").write_text(json.dumps({"version": 1, "hosts": hosts}))
    return load(Fleet(folder))


def test_the_way_leads_through_every_jump_host(tmp_path):
    """Each hop knows the next, and all of them the fleet's pinned keys."""
    hosts = {
        "gate": {"address": "203.0.113.1", "user": "root"},
        "inner": {"address": "10.0.0.6", "jump": "gate", "port": 2222},
        "far": {"address": "10.0.0.7", "jump": "inner"},
    }
    far = target(loaded(tmp_path, hosts), "far")
    assert far.jump is not None
    assert far.jump.jump is not None
    way = [far.jump.jump, far.jump, far]
    assert [(hop.name, hop.address, hop.port) for hop in way] == [
        ("gate", "203.0.113.1", 22), ("inner", "10.0.0.6", 2222), ("far", "10.0.0.7", 22),
    ]  # fmt: skip
    assert way[0].jump is None
    assert {hop.known_hosts for hop in way} == {tmp_path / "known_hosts"}


def test_a_host_that_is_not_in_the_manifest_is_named(tmp_path):
    """With the ones that are."""
    with pytest.raises(ManifestError, match='no host "vps-2"'):
        target(loaded(tmp_path, {"vps-1": {"address": "203.0.113.1"}}), "vps-2")
