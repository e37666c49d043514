"""Timers: what is checked before anything is written."""

import pytest

from otobotctl.agent.kinds import timer
from otobotctl.agent.run import Run, StepError
from otobotctl.agent.shell import Answer


def test_a_time_that_systemd_does_not_understand_changes_nothing(tmp_path, monkeypatch):
    """It is refused in systemd's own words before a unit is written."""
    monkeypatch.setattr(
        timer, "ask", lambda argv: Answer(1, "", "Failed to parse calendar specification 'dayly': Invalid argument\n")
    )
    unit = tmp_path / "t.timer"
    params = {"name": "t", "on_calendar": "dayly", "paths": [str(unit)], "units": {str(unit): "x"}}
    with pytest.raises(StepError, match="Failed to parse calendar"):
        timer.apply(params, Run(lambda line: None))
    assert not unit.exists()


def test_probe_reads_units_and_states(tmp_path, monkeypatch):
    """An absent unit is None; either unit read too long ago counts as stale."""
    unit = tmp_path / "t.timer"
    unit.write_text("[Timer]\n")
    shown = {
        "t.timer": {"ActiveState": "active", "UnitFileState": "enabled", "NeedDaemonReload": "no"},
        "t.service": {"NeedDaemonReload": "yes"},
    }
    monkeypatch.setattr(timer.systemd, "show_all", lambda names, _: [shown[name] for name in names])
    facts = timer.probe({"name": "t", "paths": [str(unit), str(tmp_path / "t.service")]})
    assert facts == {
        "units": {str(unit): "[Timer]\n", str(tmp_path / "t.service"): None},
        "_active": "active",
        "enabled": "enabled",
        "stale": True,
    }
