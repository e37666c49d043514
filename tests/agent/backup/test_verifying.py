"""Damage of every kind is noticed, the archives that it touches are named, and nothing is lost by looking."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from otobotctl.agent.backup import verifying
from otobotctl.agent.backup.restic import Restic
from tests.agent.backup.conftest import target

IDS = ("20261119T020000Z-aaaa", "20261120T020000Z-bbbb", "20261121T020000Z-cccc")


@pytest.fixture
def filled(restic: Restic, tmp_path: Path) -> Path:
    """A repository with three archives, each with a dump of its own."""
    for number, name in enumerate(IDS):
        data = tmp_path / f"data{number}"
        data.write_bytes(random.Random(number).randbytes(1_500_000))
        put(restic, name, ["cat", str(data)])
    return tmp_path / "repository"


def put(restic: Restic, name: str, argv: list[str]) -> None:
    """An archive with one part."""
    tags = ["archive=" + name]
    saving = restic.save(argv, b"", "/databases/a.dump", tags, "acme")
    saved, _, _ = saving.finish()
    saving.close()
    assert saved is not None
    archive = {"id": name, "parts": [{"name": "/databases/a.dump", "snapshot": saved.snapshot}]}
    saving = restic.save(["cat"], json.dumps(archive).encode(), "/archive.json", tags, "acme")
    saving.finish()
    saving.close()


def data_of(restic: Restic, repository: Path, number: int) -> Path:
    """The file of the repository that holds most of an archive's dump."""
    snapshots = json.loads(restic.run("snapshots", "--json"))
    (mine,) = [
        each for each in snapshots if each["tags"] == ["archive=" + IDS[number]] and each["paths"] != ["/archive.json"]
    ]
    for path in repository.glob("data/*/*"):
        if path.stat().st_size > 1_000_000 and mine["id"] in restic.told("find", "--json", "--pack", path.name):
            return path
    raise AssertionError("no file holds it")


def spoil(path: Path) -> None:
    """Flip a bit in the middle."""
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def verify(restic: Restic) -> verifying.Verdict:
    """All of it."""
    return verifying.verify(restic, False, 1, 1)


def test_a_whole_repository_is_well(restic: Restic, filled: Path) -> None:
    """Read whole, or each of its parts."""
    assert verify(restic) == (1, 1, "", True, [], [], False)
    assert not verifying.verify(restic, True, 7, verifying.PARTS).error


def test_a_flipped_bit_is_noticed_and_its_archive_named(restic: Restic, filled: Path) -> None:
    """The other archives are told as whole, and they are: each can still be read."""
    spoil(data_of(restic, filled, 1))
    found = verify(restic)
    assert found.conclusive
    assert (found.damaged, found.whole, found.unknown) == ([IDS[1]], [IDS[0], IDS[2]], False)
    assert len(json.loads(restic.run("snapshots", "--json"))) == 6
    for number in (0, 2):
        (mine,) = [
            each
            for each in json.loads(restic.run("snapshots", "--json"))
            if each["tags"] == ["archive=" + IDS[number]] and each["paths"] != ["/archive.json"]
        ]
        with restic.dump(mine["id"], "/databases/a.dump") as program:
            data, _ = program.communicate()
        assert data == random.Random(number).randbytes(1_500_000)


def test_a_lost_snapshot_damages_its_archive(restic: Restic, filled: Path) -> None:
    """Restic lists it no more; archive.json still names it."""
    (mine,) = [
        each["id"]
        for each in json.loads(restic.run("snapshots", "--json"))
        if each["tags"] == ["archive=" + IDS[2]] and each["paths"] != ["/archive.json"]
    ]
    spoil(filled / "snapshots" / mine)
    found = verify(restic)
    assert (found.damaged, found.whole, found.unknown) == ([IDS[2]], [IDS[0], IDS[1]], False)


def test_a_damaged_tree_damages_its_archive(restic: Restic, filled: Path) -> None:
    """The smallest file of the data: the directory of a snapshot."""
    small = min((path for path in filled.glob("data/*/*")), key=lambda path: path.stat().st_size)
    spoil(small)
    found = verify(restic)
    assert found.error
    assert found.conclusive
    assert len(found.damaged) == 1
    assert not found.unknown


def test_a_damaged_index_leaves_nothing_that_counts(restic: Restic, filled: Path) -> None:
    """Without a map nobody can tell what is touched, so no archive is called whole."""
    spoil(next(iter((filled / "index").iterdir())))
    found = verify(restic)
    assert found.conclusive
    assert found.unknown
    assert (found.damaged, found.whole) == (list(IDS), [])


def test_what_cannot_be_reached_is_not_called_damaged(restic: Restic, tmp_path: Path, filled: Path) -> None:
    """A disk that is not mounted, or another key."""
    filled.rename(tmp_path / "away")
    found = verify(restic)
    assert found.error
    assert not found.conclusive
    (tmp_path / "away").rename(filled)
    wrong = tmp_path / "wrong"
    wrong.write_text("another")
    found = verify(Restic(target(filled), str(wrong)))
    assert found.error
    assert not found.conclusive


def test_a_lock_of_a_process_that_lives_is_respected(restic: Restic, filled: Path) -> None:
    """And told as no damage."""
    saving = restic.save(["sleep", "60"], b"", "/x", [], "acme")
    try:
        while not list((filled / "locks").iterdir()):
            pass
        found = verify(restic)
    finally:
        saving.close()
    assert "lock" in found.error
    assert not found.conclusive


def test_the_parts_follow_each_other() -> None:
    """One a week, without a gap after a missed week; one that was bad is read again."""
    week = 7 * 86400
    assert verifying.next_part(None, 100 * week) == 100 % 52 + 1
    assert verifying.next_part({"part": 3, "of": 52, "error": None}, 100 * week) == 4
    assert verifying.next_part({"part": 52, "of": 52, "error": None}, 100 * week) == 1
    assert verifying.next_part({"part": 3, "of": 52, "error": "x"}, 100 * week) == 3
    assert verifying.next_part({"part": 1, "of": 1, "error": None}, 100 * week) == 49
    seen, last = set(), None
    for number in range(52):
        part = verifying.next_part(last, (100 + 2 * number) * week)
        last = {"part": part, "of": 52, "error": None}
        seen.add(part)
    assert seen == set(range(1, 53))


def test_a_check_that_could_not_be_done_leaves_the_time_of_the_one_before() -> None:
    """So that a dead target is overdue in the end."""
    failed = verifying.Verdict(5, 52, "no line", False, [], [], False)
    last = {"at": 100.0, "part": 4, "of": 52, "error": None}
    found = verifying.noted(failed, last, 200.0)
    assert (found["at"], found["part"], found["error"]) == (100.0, 4, "no line")
    well = verifying.Verdict(5, 52, "", True, [], [], False)
    assert verifying.noted(well, last, 200.0)["at"] == 200.0


def test_what_is_told_names_a_way_out() -> None:
    """The archives, the other targets and restic's own steps."""
    bad = verifying.Verdict(1, 1, "x", True, [IDS[1]], [IDS[0]], False)
    said, lines = verifying.words(bad, "acme", "disk", ["far"])
    assert said == "acme: what the repository disk holds is damaged"
    text = "\n".join(lines)
    for word in (IDS[1], IDS[0], "far", "repair packs", "otobotctl backup run acme"):
        assert word in text
