"""Whose signature under a drill's report is believed, and what is to be done where it is nobody's."""

from __future__ import annotations

import json
from types import SimpleNamespace

import pytest

from otobotctl.errors import HostKeyError
from otobotctl.workflows.backup import proving


@pytest.mark.parametrize(
    ("on", "hint"),
    [
        pytest.param("vps-2", "otobotctl host trust vps-2", id="a host"),
        pytest.param("local-lea-laptop", "otobotctl backup drill acme --on local, and commit known_hosts", id="a machine"),
    ],
)  # fmt: skip
def test_a_report_that_nobody_pinned_has_signed_is_told_with_what_helps_there(tmp_path, on, hint):
    """A host's key is pinned by `host trust`; an operator's machine is no host, and pins itself when it drills."""
    (tmp_path / "known_hosts").touch()
    fleet = SimpleNamespace(known_hosts=tmp_path / "known_hosts")
    loaded = SimpleNamespace(fleet=fleet, manifest=SimpleNamespace(hosts={"vps-1": None, "vps-2": None}))
    signed = {"report": json.dumps({"client": "acme", "on": on}), "signatures": []}
    with pytest.raises(HostKeyError, match=f"has pinned for {on}$") as raised:
        proving.believed(loaded, "acme", "vps-1", signed)
    assert raised.value.hint.endswith(hint)
