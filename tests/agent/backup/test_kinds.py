"""What a killed restore left is put right kind by kind, on real directories; nothing runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from otobotctl.agent.backup import course, kinds
from otobotctl.agent.backup.course import Course, Item
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.restoring import Restoring
from otobotctl.agent.dumps import Project

JOB = {"client": "acme", "sources": [], "engines": ["postgres"]}


class Quiet(Hands):
    """Nothing runs; to bring services up wants the volume in its place, as Docker does."""

    def __init__(self, volume: Path) -> None:
        super().__init__(Project("otobot-acme", "/opt"), lambda _: None)
        self.volume = volume
        self.upped = 0

    def writers(self, _):
        return []

    def stop(self, _):
        pass

    def up(self, _):
        if not self.volume.is_dir():
            raise RestoreError("no such file or directory")
        self.upped += 1


def killed(tmp_path: Path, kind: str) -> tuple[Restoring, Quiet]:
    """A restore of one volume that was killed in the middle of its exchange: what was there is aside."""
    volume = tmp_path / "otobot-acme_files"
    (tmp_path / "otobot-acme_files_before_mark").mkdir()
    (tmp_path / "otobot-acme_files_before_mark/former").touch()
    (tmp_path / "otobot-acme_files_restoring").mkdir()
    left = Course(str(tmp_path / "restore.json"))
    left.begin("20261121T020003Z-9f31", "mark", [Item(kind, "files", "", "mark")], places={"files": str(volume)})
    left.enter(course.EXCHANGING)
    hands = Quiet(volume)
    return Restoring(JOB, hands, str(tmp_path / "restore.json")), hands


def test_files_are_in_their_place_before_anything_starts_that_wants_them(tmp_path):
    """Killed between the two renames of a volume alone, no service could start: the renames are undone first."""
    restoring, hands = killed(tmp_path, "volume")
    assert restoring.mend() == ""
    assert [path.name for path in tmp_path.iterdir()] == ["otobot-acme_files"]
    assert (tmp_path / "otobot-acme_files/former").exists()
    assert hands.upped == 1


def test_a_kind_that_this_host_does_not_know_is_told_and_left_alone(tmp_path):
    """A journal of a newer program: nothing is changed, and the journal stays for who can read it."""
    restoring, _ = killed(tmp_path, "redis")
    with pytest.raises(RestoreError, match="does not know how to restore a redis"):
        restoring.mend()
    assert (tmp_path / "restore.json").exists()
    assert (tmp_path / "otobot-acme_files_before_mark/former").exists()


def test_every_kind_of_source_that_is_dumped_can_be_restored():
    """What the templates may name; a cluster is what point-in-time recovery makes of databases."""
    assert set(kinds.KINDS) - {"cluster"} == {"postgres", "mongo", "volume"}
    assert [name for name, kind in kinds.KINDS.items() if kind.SERVED] == ["postgres", "mongo"]
