"""What flows from an archive into a program: the end of both counts, unless only a part was wanted."""

from __future__ import annotations

import pytest

from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.dumps import Project

HANDS = Hands(Project("otobot-acme", "/opt"), lambda _: None)
LONG = ("sh", "-c", "trap '' PIPE; seq 1 300000 || exit 1")  # longer than any pipe holds, and not ended by its break


def test_who_wants_a_part_may_stop_reading():
    """As pg_restore does once it has one table: what cannot be written to it any more is no failure."""
    assert HANDS.through(HANDS.source(LONG), ("head", "-1")) == "1\n"
    HANDS.flow(HANDS.source(LONG), ("head", "-1"), "one", partly=True)


def test_an_archive_that_ends_badly_is_told_where_all_of_it_was_wanted():
    """Though the reader was content with what it got."""
    source = HANDS.source(("sh", "-c", "echo half; echo damaged >&2; exit 1"))
    with pytest.raises(RestoreError, match="otobot_n8n: the archive cannot be read: damaged"):
        HANDS.flow(source, ("cat",), "otobot_n8n")


def test_a_reader_that_fails_says_why_whatever_became_of_the_archive():
    """The broken pipe that it leaves behind does not hide its own words."""
    with pytest.raises(RestoreError, match=r"status 3.*no such role"):
        HANDS.flow(HANDS.source(LONG), ("sh", "-c", "echo no such role >&2; exit 3"), "otobot_n8n")
