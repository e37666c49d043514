"""What a host knows of the last archive of a client."""

import json

import pytest

from otobotctl.agent import notes


@pytest.mark.parametrize(
    ("exported", "archived", "expected"),
    [
        (None, {}, None),
        (10.0, {}, 10.0),
        (10.0, {"a": 20.0, "b": 15.0}, 20.0),
        (30.0, {"a": 20.0}, 30.0),
        (None, {"a": 5.0}, 5.0),
    ],
)
def test_the_newest_archive_counts_whoever_made_it(tmp_path, exported, archived, expected):
    """An export's note and the state of a backup's targets; a target without an archive counts for nothing."""
    if exported is not None:
        (tmp_path / "archives").mkdir()
        (tmp_path / "archives/acme.json").write_text(json.dumps({"made": exported, "final": False}))
    targets = {name: {"archive": {"made": made}} for name, made in archived.items()} | {"empty": {"archive": None}}
    (tmp_path / "backup/acme").mkdir(parents=True)
    (tmp_path / "backup/acme/state.json").write_text(json.dumps({"version": 1, "targets": targets}))
    found = notes.newest("acme", str(tmp_path))
    assert (found and found["made"]) == expected


def test_a_spoilt_state_hides_no_export(tmp_path):
    """Whatever is in the file."""
    notes.write("acme", str(tmp_path), {"file": "f", "sha256": "", "bytes": 1, "members": 1, "consistent": True}, False)
    (tmp_path / "backup/acme").mkdir(parents=True)
    for text in ("", "[]", '{"targets": 3}', '{"targets": {"a": 1}}'):
        (tmp_path / "backup/acme/state.json").write_text(text)
        assert notes.newest("acme", str(tmp_path))["file"] == "f"
