"""Whether somebody hears that who was erased is not known in a repository."""

from __future__ import annotations

from typing import Any

import pytest

from otobotctl.agent.backup import erased, reports
from otobotctl.agent.backup.hands import RestoreError
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.backup.restic import ResticError

JOB: Any = {
    "client": "acme", "project": "otobot-acme", "webhook": "https://hook.example", "mail": "", "sources": [],
    "targets": [{"name": "disk"}, {"name": "away"}],
}  # fmt: skip
FAILED = {"target": "away", "error": {"kind": "unreachable", "message": "no route", "remedy": "see the line"}}
WELL = {"target": "away", "error": None}


@pytest.fixture
def places(tmp_path) -> BackupPlaces:
    found = BackupPlaces("acme", *(str(tmp_path / each) for each in ("etc", "state", "run")))
    found.prepare()
    return found


@pytest.fixture
def posted(monkeypatch) -> list[dict[str, Any]]:
    """What the webhook got."""
    got: list[dict[str, Any]] = []
    monkeypatch.setattr(reports, "_post", lambda _, told: got.append(told) or [])
    return got


def test_what_fails_for_an_hour_is_told_once_and_so_is_its_end(places, posted):
    """A quarter of an hour each: the first hour is nobody's concern, then one word, and one when it works again."""
    for quarter in range(4):
        assert erased.tell(places, JOB, [FAILED], 900.0 * quarter) == []
    assert posted == []
    for quarter in range(4, 9):
        erased.tell(places, JOB, [FAILED], 900.0 * quarter)
    [told] = posted
    assert (told["event"], told["reason"], told["targets"]) == (
        "backup_failed", "erasures", [{"name": "away", **FAILED["error"]}]
    )  # fmt: skip
    for quarter in (9, 10):
        erased.tell(places, JOB, [WELL], 900.0 * quarter)
    assert [(each["event"], each["targets"]) for each in posted[1:]] == [("backup_recovered", [{"name": "away"}])]


def test_what_failed_once_is_told_to_nobody(places, posted):
    """Each failure has an hour of its own."""
    for quarter in range(20):
        erased.tell(places, JOB, [FAILED if quarter % 2 else WELL], 900.0 * quarter)
    assert posted == []


def test_a_target_that_fails_keeps_the_list_from_no_other(places, monkeypatch):
    """Each has its own result; what has the list is not asked again."""
    put = []

    class Stub:
        def __init__(self, name):
            self.name = name

        def put(self, data, *_):
            put.append((self.name, data))
            if self.name == "disk":
                raise ResticError("full", "no room on disk")

    monkeypatch.setattr(erased.Restic, "of", lambda _, target: Stub(target["name"]))
    monkeypatch.setattr(erased, "_list", lambda *_: b"row\n")
    said: list[str] = []
    disk, away = erased.save(places, JOB, said.append)
    assert (disk["error"]["kind"], disk["error"]["message"], away) == ("full", "no room on disk", WELL)
    assert said == ["away: 1 erasures are known there"]
    erased.save(places, JOB, said.append)
    assert put == [("disk", b"row\n"), ("away", b"row\n"), ("disk", b"row\n")]


def test_a_database_that_does_not_answer_is_a_failure_of_every_target(places, monkeypatch):
    """No traceback, and the message says what could not be read."""

    def silent(*_):
        raise RestoreError("psql ended with 2: no connection")

    monkeypatch.setattr(erased, "_list", silent)
    results = erased.save(places, JOB, print)
    assert [each["target"] for each in results] == ["disk", "away"]
    assert {each["error"]["message"] for each in results} == {
        "who was erased cannot be read: psql ended with 2: no connection"
    }
