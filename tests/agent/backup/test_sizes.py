"""How large archives are, without reading one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from otobotctl.agent.backup import sizes
from otobotctl.agent.backup.places import BackupPlaces


def part(ident: str, path: str, size: int | None) -> dict[str, Any]:
    """A snapshot as restic lists it; before 0.17 without a summary."""
    about = {} if size is None else {"summary": {"total_bytes_processed": size}}
    return {"id": path, "tags": ["archive=" + ident], "paths": [path], **about}


def test_restic_says_the_size_of_an_archive() -> None:
    """The sum of its parts without archive.json, where every one of them says its own."""
    told = [part("a", "/archive.json", 7), part("a", "/x", 100), part("a", "/y", 20), part("b", "/x", 1)]
    assert sizes.of_snapshots([*told, part("b", "/y", None)]) == {"a": 120}


def test_a_host_knows_what_it_has_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By target; the newest ones alone, and nothing where the file cannot be read."""
    places = BackupPlaces("acme", *(str(tmp_path / each) for each in ("etc", "state", "run")))
    places.prepare()
    assert sizes.read(places) == {}
    monkeypatch.setattr(sizes, "_KEPT", 2)
    for number in (3, 1, 2):
        sizes.note(places, "disk", f"0000{number}", number)
    sizes.note(places, "away", "00001", 9)
    known = sizes.read(places)
    assert known == {"away": {"00001": 9}, "disk": {"00002": 2, "00003": 3}}
    (tmp_path / "state/acme/sizes.json").write_text("{")
    assert sizes.read(places) == {}
