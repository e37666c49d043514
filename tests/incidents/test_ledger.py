"""Incidents on disk: a write is the old file or the new one, and nothing is added to what was changed."""

from __future__ import annotations

import os
import threading

import pytest

from otobotctl import atomic
from otobotctl.errors import DriftError, ManifestError, UsageError
from otobotctl.fleet import Fleet
from otobotctl.incidents import ledger


@pytest.fixture
def fleet(tmp_path):
    return Fleet(tmp_path)


def test_each_incident_has_an_id_of_its_own(fleet):
    """Also those that begin at the same moment; the newest is listed first, the tenth after the ninth."""
    made: list[str] = []
    threads = [threading.Thread(target=lambda: made.append(ledger.open_new(fleet, "seen").name)) for _ in range(11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 11
    assert [each.name.rpartition("-")[2] for each in ledger.every(fleet)] == [str(n) for n in range(11, 0, -1)]


def test_the_file_is_the_operators_alone_and_whole(fleet):
    """Mode 0600, and its chain holds over several writers."""
    found = ledger.open_new(fleet, "seen")
    for number in range(5):
        ledger.Ledger(fleet, found.name).add("noted", "note", f"number {number}")
    assert found.path.stat().st_mode & 0o777 == 0o600
    chain = found.read()
    assert (len(chain.records), chain.broken) == (6, 0)


def test_a_write_that_is_killed_leaves_what_was_there(fleet, monkeypatch):
    """Before the rename nothing has changed; what stands there is a whole chain, and the next write goes on from it."""
    found = ledger.open_new(fleet, "seen")

    def killed(*_args):
        raise KeyboardInterrupt

    for name in ("fsync", "fchmod"):
        with monkeypatch.context() as patched:
            patched.setattr(os, name, killed)
            with pytest.raises(KeyboardInterrupt):
                found.add("noted", "note", "never written")
        assert [each.event for each in found.read().records] == ["opened"]
    found.add("noted", "note", "written")
    assert found.read().broken == 0
    assert sorted(path.name for path in fleet.root.joinpath("incidents").iterdir()) == [found.path.name]


def test_a_full_disk_is_told_and_nothing_is_done(fleet, monkeypatch):
    """The record comes before the act, so an act that cannot be recorded does not happen."""
    found = ledger.open_new(fleet, "seen")

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "write", full)
    with pytest.raises(ManifestError, match="No space left"):
        found.add("begun", "isolate", "vps-1")


def test_nothing_is_added_to_what_was_changed(fleet):
    """A chain that goes on from a forged line would bless it."""
    found = ledger.open_new(fleet, "seen")
    found.path.write_text(found.path.read_text().replace("seen", "nothing"))
    with pytest.raises(DriftError, match="line 1 of"):
        found.add("noted", "note", "more")
    assert len(found.path.read_text().splitlines()) == 1


@pytest.mark.parametrize("name", ["../../etc/passwd", "2026-11-21", "", "latest"])
def test_an_id_is_never_a_path(fleet, name):
    """Nor anything else than an id."""
    with pytest.raises(UsageError, match="no incident's id"):
        ledger.Ledger(fleet, name)


def test_an_incident_that_is_not_there(fleet):
    """Is told with what lists those that are."""
    with pytest.raises(UsageError) as error:
        ledger.Ledger(fleet, "2026-11-21-1").read()
    assert error.value.hint == "otobotctl incident list"
