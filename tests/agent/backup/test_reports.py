"""Figures for Prometheus."""

from __future__ import annotations

from otobotctl.agent.backup import reports

JOB = {"client": "acme", "targets": [{"name": "nas"}], "rpo_s": 14400}


def test_what_a_drill_measured_is_among_the_figures():
    """Whether it proved its archive, when, how long that took and what could have been lost; before the first, nothing."""
    drill = {"ok": True, "at": 1763690400.0, "took_s": 61.5, "rpo_s": 14500.0}
    text = reports.metrics(JOB, {"targets": {}, "drill": drill})
    assert 'otobot_backup_drill_success{client="acme"} 1.0\n' in text
    assert 'otobot_backup_drill_timestamp_seconds{client="acme"} 1763690400.0\n' in text
    assert 'otobot_backup_drill_duration_seconds{client="acme"} 61.5\n' in text
    assert 'otobot_backup_drill_rpo_seconds{client="acme"} 14500.0\n' in text
    assert "drill" not in reports.metrics(JOB, {"targets": {}, "drill": None})
