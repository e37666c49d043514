"""What flows from an archive into a program: the end of both counts, unless only a part was wanted."""

from __future__ import annotations

import pytest

from otobotctl.agent import run, shell
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


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """A stand-in for docker that brings nothing up while a file `pausing` is there, which `stop` removes."""
    program = tmp_path / "docker"
    program.write_text(
        f"""#!/bin/sh
case "$1 $2" in
"compose --project-name") [ ! -e {tmp_path}/pausing ] || {{ echo "container n8n is unhealthy" >&2; exit 1; }} ;;
"ps --quiet") cat {tmp_path}/pausing ;;
"inspect --format") cat {tmp_path}/made ;;
"stop --time") rm {tmp_path}/pausing ;;
esac
"""
    )
    program.chmod(0o755)
    path = f"{tmp_path}:{run.PATH}"
    monkeypatch.setattr(run, "PATH", path)
    monkeypatch.setattr(shell, "PATH", path)
    monkeypatch.setenv("PATH", path)
    (tmp_path / "pausing").write_text("abc\n")
    return tmp_path


def test_what_docker_was_starting_again_before_is_brought_up_in_its_turn(docker):
    """A restore that goes on after a power cut finds what came before its database, and counts as unhealthy."""
    (docker / "made").write_text("2026-11-21T18:17:01.891010029Z\n")
    said = []
    Hands(Project("otobot-acme", "/opt"), said.append).up(())
    assert not (docker / "pausing").exists()
    assert "container abc waited to be started again" in said[0]


def test_what_ends_again_and_again_since_it_was_brought_up_is_told(docker):
    """What the restore itself has started shows that it does not work."""
    (docker / "made").write_text("2126-11-21T18:17:01.891010029Z\n")
    with pytest.raises(RestoreError, match="container n8n is unhealthy"):
        HANDS.up(())
