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


def test_what_shall_be_absent_is_switched_off_before_it_goes(tmp_path, monkeypatch):
    """The timer is disabled while its unit is still there; systemd reads again; what is left is said by path."""
    units = [tmp_path / "t.service", tmp_path / "t.timer"]
    params = {"name": "t", "state": "absent", "paths": [str(unit) for unit in units]}
    units[1].write_text("[Timer]\n")
    assert timer.probe(params) == {"present": [str(units[1])]}
    called = []
    monkeypatch.setattr(timer, "ask", lambda argv: called.append((argv[1], units[1].exists())) or Answer(0, "", ""))
    monkeypatch.setattr(Run, "command", lambda _self, argv: called.append((argv[1], units[1].exists())))
    timer.apply(params, Run(lambda line: None))
    assert called == [("disable", True), ("daemon-reload", False), ("reset-failed", False)]
    assert timer.probe(params) == {"present": []}
