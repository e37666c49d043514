"""Records of an incident: chained, and what was changed is seen."""

from __future__ import annotations

import json

import pytest

from otobotctl.incidents.record import Record, following, line, parse, unended


def add(records, event, action, subject, **details):
    return (*records, following(records, event, at="2026-11-21T10:00:00+00:00", who="me@here", action=action, subject=subject, details=details))  # fmt: skip


@pytest.fixture
def records() -> tuple[Record, ...]:
    found = add((), "opened", "open", "accès d'un inconnu", aware="2026-11-21T09:00:00+00:00")
    found = add(found, "begun", "block-ip", "198.51.100.7 on vps-1")
    return add(found, "done", "block-ip", "198.51.100.7 on vps-1", of=2, remaining=["look at the log"])


def text(records):
    return "".join(f"{line(each)}\n" for each in records)


def test_what_is_written_is_read(records):
    """All of it, whatever letters are in it, and the chain is whole."""
    chain = parse(text(records))
    assert chain.records == records
    assert chain.broken == 0


@pytest.mark.parametrize(
    "field", ["at", "who", "event", "action", "subject", "details", "previous", "digest", "number"]
)
def test_a_changed_field_is_seen(records, field):
    """Of any line, any field; the line is named."""
    lines = text(records).splitlines()
    body = json.loads(lines[1])
    body[field] = {"another": 1} if field == "details" else 7 if field == "number" else "another"
    lines[1] = json.dumps(body)
    assert parse("\n".join(lines)).broken == 2


def test_a_line_that_went_or_came_or_moved_is_seen(records):
    """The next one no longer fits."""
    one, two, three = text(records).splitlines()
    assert parse(f"{one}\n{three}").broken == 2
    assert parse(f"{one}\n{one}\n{two}\n{three}").broken == 2
    assert parse(f"{one}\n{three}\n{two}").broken == 2
    assert parse(f"{one}\nnot a record\n{two}").broken == 2
    assert parse(f"{one}\n{two}").broken == 0  # a cut tail alone: git has what it was


def test_a_chain_that_is_computed_anew_from_a_changed_line_on_still_shows_in_git(records):
    """Who can write the file can forge all of it; so it is committed. What this cannot see is not claimed."""
    forged = add(records[:1], "begun", "isolate", "vps-1")
    assert parse(text(forged)).broken == 0


def test_what_was_begun_and_never_ended_is_known(records):
    """By the number that an end names."""
    assert unended(records) == ()
    assert [each.action for each in unended(add(records, "begun", "isolate", "vps-1"))] == ["isolate"]
    failed = add(add(records, "begun", "isolate", "vps-1"), "failed", "isolate", "vps-1", of=4, error="no line")
    assert unended(failed) == ()
