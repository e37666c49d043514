"""Files of tests that fail are tried again, and no red run becomes green unseen."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.again import FAILED, TRIED, files

TOP = Path(__file__).resolve().parents[1]
_CONFTEST = "from tests import again\ndef pytest_terminal_summary(terminalreporter):\n    again.note(terminalreporter)\n    again.tell(terminalreporter)\n"  # fmt: skip
_ONCE = "import pathlib\ndef test_it():\n    mark = pathlib.Path(__file__ + '.mark')\n    there = mark.exists()\n    mark.touch()\n    assert there, 'the machine stood still'\n"  # fmt: skip
_BROKEN = (
    "import pytest\n@pytest.fixture\ndef host():\n    raise OSError('it is broken')\ndef test_it(host):\n    pass\n"
)


def ran(place: Path, *words: str, **named: Path) -> tuple[int, str]:
    """What pytest says of a folder of tests."""
    usual = {name: value for name, value in os.environ.items() if name not in (FAILED, TRIED)}
    environment = {**usual, "PYTHONPATH": str(TOP), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": ""}
    environment.update({name: str(path) for name, path in named.items()})
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *words]
    done = subprocess.run(argv, cwd=place, env=environment, capture_output=True, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


def folder(place: Path, **tests: str) -> Path:
    """Files of tests below a directory."""
    (place / "conftest.py").write_text(_CONFTEST)
    for name, text in tests.items():
        (place / f"test_{name}.py").write_text(text)
    return place / "failed.json"


def test_what_failed_once_passes_with_its_first_words_in_the_summary(tmp_path):
    """The second run has the file whole; what it says at its end names the test and its error."""
    failed = folder(tmp_path, once=_ONCE, well="def test_it(): pass\n")
    assert ran(tmp_path, **{FAILED: failed})[0] == 1
    assert files(failed) == ["test_once.py"]
    code, text = ran(tmp_path, *files(failed), **{TRIED: failed})
    assert code == 0
    assert "tried again with all of its file: test_once.py::test_it (call): AssertionError: the machine" in text
    assert "1 passed" in text.splitlines()[-1]


def test_what_is_broken_fails_twice(tmp_path):
    """Also where it is a fixture that fails."""
    failed = folder(tmp_path, broken=_BROKEN)
    assert ran(tmp_path, **{FAILED: failed})[0] == 1
    assert files(failed) == ["test_broken.py"]
    code, text = ran(tmp_path, *files(failed), **{TRIED: failed})
    assert code == 1
    assert "test_broken.py::test_it (setup): OSError: it is broken" in text


def test_much_that_fails_is_not_tried_again(tmp_path):
    """Three files are no stall of a machine; and where nothing was written there is nothing to try."""
    failed = folder(
        tmp_path, a="def test_it(): assert 0\n", b="def test_it(): assert 0\n", c="def test_it(): assert 0\n"
    )
    assert ran(tmp_path, **{FAILED: failed})[0] == 1
    assert files(failed) == []
    assert files(tmp_path / "nothing") == []
