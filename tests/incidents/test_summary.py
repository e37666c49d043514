"""What an incident comes to: its story, what remains, and the 72 hours."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from otobotctl.incidents.record import Chain, following
from otobotctl.incidents.summary import TOLD, summary

AWARE = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)


def told(*events, now=AWARE + timedelta(hours=10), broken=0):
    """A summary of these events: (event, action, subject, details)."""
    records = ()
    opened = ("opened", "open", "an intrusion", {"aware": AWARE.isoformat()})
    for hour, (event, action, subject, details) in enumerate((opened, *events)):
        at = (AWARE + timedelta(hours=hour)).isoformat()
        records = (*records, following(records, event, at=at, who="me@here", action=action, subject=subject, details=details))  # fmt: skip
    return summary("2026-11-21-1", Chain(records, broken), now)


BLOCK = (
    ("begun", "block-ip", "198.51.100.7 on vps-1", {}),
    ("done", "block-ip", "198.51.100.7 on vps-1", {"of": 2, "remaining": ["read the log", "rotate"]}),
)


def test_the_notice_is_due_72_hours_after_it_was_known_of():
    """Not after the incident was opened; the hours that are left are told."""
    notice = told().notice
    assert notice.deadline == "2026-11-24T09:00:00+00:00"
    assert notice.hours_left == 62.0
    assert notice.state == "open"
    assert "by 2026-11-24T09:00:00+00:00 (62 hours left)" in notice.duty


def test_a_notice_that_is_late_says_so():
    """And that the delay must be explained."""
    notice = told(now=AWARE + timedelta(hours=80)).notice
    assert (notice.state, notice.hours_left) == ("late", -8.0)
    assert "8 hours ago, and the delay must be explained" in notice.duty


def test_what_is_known_and_what_is_not():
    """Every thing that article 33 wants is one or the other; the measures come from what was done."""
    found = told(*BLOCK, ("noted", "note", "counted", {"told": {"people": "2", "nature": "tokens"}}))
    assert dict(found.notice.known) == {"nature": "tokens", "people": "2"}
    assert set(found.notice.unknown) == set(TOLD) - {"nature", "people"}
    assert [each.partition(": ")[2] for each in found.notice.measures] == ["block-ip 198.51.100.7 on vps-1"]


def test_a_notice_that_was_sent_asks_for_nothing():
    """Nor one that is not needed."""
    for state in ("sent", "not needed"):
        notice = told(("noted", "note", "decided", {"told": {"notice": state}})).notice
        assert (notice.state, notice.duty) == (state, "")


def test_what_remains_until_somebody_settles_it():
    """In the order in which it came up, each once."""
    assert told(*BLOCK, *BLOCK).remaining == ("read the log", "rotate")
    assert told(*BLOCK, ("noted", "note", "read", {"settled": ["read the log"]})).remaining == ("rotate",)


def test_the_story_tells_how_each_act_ended():
    """Done, failed, or interrupted, which is told once more by itself."""
    failed = (("begun", "isolate", "vps-1", {}), ("failed", "isolate", "vps-1", {"of": 4, "error": "no line"}))
    found = told(*BLOCK, *failed, ("begun", "isolate", "vps-2", {}))
    assert [(each.what, each.outcome) for each in found.story] == [
        ("an intrusion", "opened"),
        ("block-ip 198.51.100.7 on vps-1", "done"),
        ("isolate vps-1", "failed"),
        ("isolate vps-2", "interrupted"),
    ]
    assert found.story[2].details["error"] == "no line"
    assert found.interrupted == ("isolate vps-2",)


def test_a_closed_incident_is_closed():
    """By its last record."""
    assert told().state == "open"
    assert told(("closed", "close", "over", {})).state == "closed"
