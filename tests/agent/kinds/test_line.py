"""The agent's half of `line`, on a real file system."""

from __future__ import annotations

import os
import stat

import msgspec
import pytest

from otobotctl.agent.kinds import line
from otobotctl.agent.run import Run, StepError
from otobotctl.plan.kinds.line import LineSpec


def converge(wanted):
    line.apply(msgspec.json.decode(msgspec.json.encode(wanted.wire())), Run(lambda said: None))
    return wanted.compare(line.probe(wanted.question()))


@pytest.mark.parametrize(
    ("before", "wanted", "after"),
    [
        ("a\n", {"line": "b"}, "a\nb\n"),
        ("a", {"line": "b"}, "a\nb\n"),
        ("", {"line": "b"}, "b\n"),
        ("a\nb\nc\n", {"line": "b"}, "a\nb\nc\n"),
        ("a\nb", {"line": "b"}, "a\nb"),
        ("#Port 22\nX\nPort 23\n", {"line": "Port 22", "match": "^#?Port "}, "Port 22\nX\n"),
        ("Port 23\nPort 22\n", {"line": "Port 22", "match": "^#?Port "}, "Port 22\n"),
        ("X\n", {"line": "Port 22", "match": "^#?Port "}, "X\nPort 22\n"),
        ("a\n#b\n", {"line": "b", "match": "^#b$"}, "a\nb\n"),
        ("a\nb\na\n", {"line": "a", "state": "absent"}, "b\n"),
        ("a\nb1\nb2\n", {"match": "^b", "state": "absent"}, "a\n"),
        ("a\n", {"line": "b", "state": "absent"}, "a\n"),
    ],
)
def test_edits(tmp_path, before, wanted, after):
    """Put in the first match's place or at the end, once; then a second time nothing differs."""
    path = tmp_path / "conf"
    path.write_text(before)
    spec = LineSpec(path=str(path), **wanted)
    assert (spec.compare(line.probe(spec.question())) == ()) == (before == after)
    assert converge(spec) == ()
    assert path.read_text() == after
    assert converge(spec) == ()
    assert path.read_text() == after
    assert list(tmp_path.iterdir()) == [path]


def test_mode_owner_and_strange_bytes_are_kept(tmp_path):
    """The file stays its owner's, and bytes that are no UTF-8 come out as they went in."""
    path = tmp_path / "conf"
    path.write_bytes(b"caf\xe9\na\n")
    path.chmod(0o600)
    if os.geteuid() == 0:
        os.chown(path, 54321, 54322)
    before = path.stat()
    assert converge(LineSpec(path=str(path), line="b", match="^(a|caf)$")) == ()
    assert path.read_bytes() == b"caf\xe9\nb\n"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert (path.stat().st_uid, path.stat().st_gid) == (before.st_uid, before.st_gid)


def test_matched_lines_that_are_no_utf8_can_cross_the_wire(tmp_path):
    """The answer is JSON that the operator's side can read."""
    path = tmp_path / "conf"
    path.write_bytes(b"key=\xff\n")
    facts = line.probe({"path": str(path), "line": "key=1", "match": "^key="})
    assert msgspec.json.decode(msgspec.json.encode(facts)) == facts
    assert len(facts["matched"]) == 1


def test_a_missing_file_is_only_made_when_asked(tmp_path):
    """Without `create` the message says how to ask; an absent line in a missing file is no work."""
    spec = LineSpec(path=str(tmp_path / "conf"), line="a")
    assert spec.compare(line.probe(spec.question())) != ()
    with pytest.raises(StepError, match="create: true"):
        converge(spec)
    assert converge(LineSpec(path=str(tmp_path / "conf"), line="a", state="absent")) == ()
    assert converge(LineSpec(path=str(tmp_path / "conf"), line="a", create=True)) == ()
    assert (tmp_path / "conf").read_text() == "a\n"


def test_a_symlink_is_refused(tmp_path):
    """Replacing a link by a file would cut it off from what it means."""
    (tmp_path / "real").write_text("a\n")
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(StepError, match="is a symlink"):
        converge(LineSpec(path=str(tmp_path / "link"), line="b"))
    assert (tmp_path / "real").read_text() == "a\n"
