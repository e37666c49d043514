"""An archive in a list, as its tags and its host say it."""

from __future__ import annotations

from typing import Any

import pytest

from otobotctl.cli.human import backups
from otobotctl.workflows.backup.listing import Listing, archive

TAGS = {"id": "20261121T020003Z-9f31", "reason": "daily", "release": "3", "parts": "5", "consistent": "yes"}


@pytest.mark.parametrize(("said", "size", "shown"), [({"bytes": 2_000_000}, 2_000_000, "2M"), ({}, None, "-")])
def test_a_size_that_nobody_says_is_none_and_not_nothing(said: dict[str, Any], size: int | None, shown: str) -> None:
    """A dash in words, null with --json: restic before 0.17 does not say what another host has made."""
    found = archive("disk", {**TAGS, **said})
    assert found.bytes == size
    row = backups.listed(Listing("acme", (found,))).splitlines()[-1]
    assert row.split()[3:] == ["daily", shown, "5", "yes"]
