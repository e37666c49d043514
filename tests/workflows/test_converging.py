"""What a host is asked, and what becomes of an answer."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from otobotctl.errors import StepFailedError
from otobotctl.workflows import converging


def seen(facts=None, error=""):
    return SimpleNamespace(answers=[SimpleNamespace(facts=facts, error=error)])


def test_a_host_that_cannot_answer_is_told_with_what_to_do_next():
    """Whatever was asked, the doctor is who looks further."""
    assert converging.told(seen({"a": 1}), "vps-1") == {"a": 1}
    with pytest.raises(StepFailedError, match=r"^vps-1 cannot be looked at: no room$") as raised:
        converging.told(seen(error="no room"), "vps-1")
    assert raised.value.hint == "otobotctl doctor vps-1"
    with pytest.raises(StepFailedError, match=r"^vps-1: its shield cannot be told: no room$"):
        converging.told(seen(error="no room"), "vps-1", "its shield")
