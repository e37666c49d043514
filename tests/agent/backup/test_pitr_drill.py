"""Drills of a client with point-in-time recovery: real PostgreSQL, its real receiver, real restic."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agent.backup.pitr_host import PitrHost, client


@pytest.fixture(scope="module")
def host() -> Iterator[PitrHost]:
    """A client with one archive, one base, and its log in one repository."""
    yield from client()


def test_the_log_is_replayed_to_what_was_committed_a_moment_ago(host):
    """Rows that no archive has are counted in the throw-away server; how old the newest moment was is in the report."""
    host.sql("INSERT INTO workflow SELECT i, 'later' FROM generate_series(1000, 1499) i", "otobot_n8n")
    host.covered()
    report = host.drill()
    assert report["error"] is None, report["error"]
    assert {each["name"]: each["ok"] for each in report["checks"]}["log"] is True
    log = report["log"]
    assert log["databases"]["otobot_n8n"] == {**log["databases"]["otobot_n8n"], "rows": 501, "tables": 2}
    assert log["rows"] == sum(each["rows"] for each in log["databases"].values())
    assert log["until"] == round(host.note()["targets"]["disk"]["covers"], 3)
    assert 0 < log["rpo_s"] < report["at"] + report["took_s"] + 60 - log["until"]
    assert host.left() == []
    known = host.state()["drill"]["log"]
    assert known == {key: log[key] for key in ("until", "rpo_s", "took_s")}


def test_a_drill_that_is_killed_leaves_a_server_that_goes_with_the_next_look(host):
    """Killed while PostgreSQL runs: whoever waited for it removes that, or the next drill does."""
    assert host.drill(kill=4) == {}
    assert host.left() == ["otobot-drill-acme-log"]
    assert host.do("clean") == 0
    assert host.left() == []


def test_a_log_that_ends_early_is_not_proved(host):
    """A piece that claims more than it holds: PostgreSQL takes it for the end of the log and says nothing."""
    host.sql("INSERT INTO step SELECT generate_series(1, 100)", "otobot_n8n")
    host.covered()
    newest = [each for each in host.snapshots("disk") if each["paths"] == ["/wal.tar"]][-1]
    (told,) = (tag for tag in newest["tags"] if tag.startswith("lsn="))
    host.restic("disk", "tag", "--remove", told, newest["id"])
    (again,) = (each for each in host.snapshots("disk") if each.get("original") == newest["id"])
    high, _, low = told.removeprefix("lsn=").partition("/")
    host.restic("disk", "tag", "--add", f"lsn={high}/{int(low, 16) + 0x300001:X}", again["id"])
    report = host.drill()
    (check,) = (each for each in report["checks"] if each["name"] == "log")
    assert "MB before the end of the log" in check["error"]
    assert report["error"]["kind"] == "drill"
    assert report["ok"] is False
    assert host.left() == []


def test_a_log_without_a_base_is_not_proved(host):
    """The archive is, and the check of the log says why not."""
    for each in host.snapshots("disk"):
        if each["paths"] == ["/base.json"]:
            host.restic("disk", "forget", each["id"])
    report = host.drill()
    assert {each["name"]: each["error"] for each in report["checks"] if not each["ok"]} == {
        "log": "there is no base with a log on disk yet"
    }
    assert (report["log"], report["ok"]) == (None, False)
