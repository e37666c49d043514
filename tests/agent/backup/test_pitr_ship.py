"""What the shipper takes in from the threads that send."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from otobotctl.agent.backup.pitr import here, ship

FORMER = {"series": "9f31", "last": "0000000100000000000000F0", "position": 64 << 30, "covers": 1.0, "error": None}


@pytest.mark.parametrize(("system", "timeline", "counts"), [("7", "00000001", True), ("8", "00000001", False)])
def test_what_a_slow_target_took_of_another_log_does_not_count(system, timeline, counts):
    """The server was made anew meanwhile: its segments, which begin at 1, would be let go of without being sent."""
    shipper = object.__new__(ship.Shipper)
    sending: Future[dict[str, object]] = Future()
    sending.set_result(FORMER)
    shipper._under_way = {"disk": (("7", "00000001"), sending)}
    note = {"system": system, "timeline": timeline, "targets": {}}
    shipper._collect(note, 0.0)
    assert here.of_target(note, here.LOG, "disk")["last"] == (FORMER["last"] if counts else "")
    assert not shipper._under_way
