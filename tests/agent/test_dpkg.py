"""Reading dpkg's record says what dpkg-query says, and says nothing where only dpkg can tell."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from otobotctl.agent import apt, dpkg

_RECORD = """Package: a
Status: install ok installed
Architecture: all
Version: 1:1.0-1
Description: first
 Status: deinstall ok config-files
 .
 Package: b

Package: b
Status: hold ok installed
Version: 2

Package: c
Status: deinstall ok config-files
Version: 3

Package: d
Status: install ok unpacked
Version: 4

Package: e
Status: install reinstreq half-installed
Version: 5

Package: f
Status: install ok triggers-awaited
Version: 6

Package: g
Status: install ok triggers-pending
Version: 7

Package: h
Status: unknown ok not-installed
"""


@pytest.fixture
def record(tmp_path, monkeypatch):
    """Dpkg's files, of which the first is as above."""
    path = tmp_path / "status"
    path.write_text(_RECORD)
    (tmp_path / "updates").mkdir()
    monkeypatch.setattr(dpkg, "STATUS", str(path))
    monkeypatch.setattr(dpkg, "UPDATES", str(tmp_path / "updates"))
    return path


def test_what_the_record_says(record):
    """Installed, or waiting for a trigger, held back or not; not unpacked, half installed or removed."""
    assert dpkg.installed([*"abcdefgh", "none"]) == {"a": "1:1.0-1", "b": "2", "f": "6", "g": "7"}
    assert dpkg.installed([]) == {}


@pytest.mark.parametrize("name", ["lib*", "libc6:i386", "A", "[ab]"])
def test_a_name_that_only_dpkg_understands_is_left_to_it(record, name):
    """Patterns and architectures."""
    assert dpkg.installed(["a", name]) is None


def test_while_dpkg_works_only_dpkg_knows(record):
    """Its latest changes are in numbered files beside the record; what it keeps to write the next one is none."""
    (record.parent / "updates/tmp.i").touch()
    assert not dpkg.journalled()
    assert dpkg.installed(["a"]) == {"a": "1:1.0-1"}
    (record.parent / "updates/0001").touch()
    assert dpkg.journalled()
    assert dpkg.installed(["a"]) is None


@pytest.mark.parametrize("text", [None, "{}", "\nName: a\nVersion: 1\n"])
def test_a_record_that_is_none_is_not_believed(record, text):
    """A host without one, or with one of another kind."""
    if text is None:
        record.unlink()
    else:
        record.write_text(text)
    assert dpkg.installed(["a"]) is None


@pytest.mark.skipif(not shutil.which("dpkg-query") or not Path(dpkg.STATUS).exists(), reason="no dpkg on this machine")
def test_every_package_of_this_machine_is_told_as_dpkg_query_tells_it(monkeypatch):
    """Names, versions and states, all of them."""
    names = subprocess.run(["dpkg-query", "-W", "-f", "${Package}\\n"], capture_output=True, text=True).stdout.split()
    assert len(names) > 10
    found = dpkg.installed(names)
    assert found is not None
    assert len(found) > 10
    monkeypatch.setattr(dpkg, "installed", lambda _names: None)
    assert found == apt.installed(names)
