"""Killed at any point, nothing is lost."""

import signal
import subprocess
import sys
from itertools import count

from otobotctl import secrets
from otobotctl.secrets import set_given
from tests.secrets.sample import GIVEN, NOW, full, revealed

# Each call that changes the disk is counted; the process kills itself just before the one it is told.
CHILD = """
import os, signal, sys
from pathlib import Path
directory, key, recipient, moment = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], int(sys.argv[4])
from otobotctl import atomic, secrets
from otobotctl.secrets import set_given
from tests.secrets.sample import GIVEN, NOW
secrets.open_store(directory, [key])
import tempfile, pyrage
calls = 0

def deadly(function):
    def call(*given, **named):
        global calls
        calls += 1
        if calls == moment:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*given, **named)
    return call

for holder, name in ((os, "replace"), (os, "fsync"), (os, "fchmod"), (os, "fdopen"), (tempfile, "mkstemp")):
    setattr(holder, name, deadly(getattr(holder, name)))
with secrets.locked(directory):
    store = set_given(secrets.open_store(directory, [key]), GIVEN, "the new value", NOW)
    secrets.save(directory, store, [recipient])
"""


def run(directory, key, moment):
    command = [sys.executable, "-c", CHILD, directory, key.path, key.recipient, str(moment)]
    return subprocess.run(command, capture_output=True, text=True)


def test_killed_at_any_moment_the_store_is_the_old_or_the_new_one(tmp_path, keys):
    """Both files fit together after the next opening, and the next save leaves no litter."""
    key = keys["age"]
    old, new = revealed(full()), {**revealed(full()), "API_KEY": "the new value"}
    found = []
    for moment in count(1):
        secrets.save(tmp_path, full(), [key.recipient])
        done = run(tmp_path, key, moment)
        store = secrets.open_store(tmp_path, [key.path])
        assert revealed(store) in (old, new)
        assert {entry.name: entry for entry in secrets.read_metadata(tmp_path, [])} == dict(store.metadata)
        secrets.save(tmp_path, set_given(store, GIVEN, "another", NOW), [key.recipient])
        assert sorted(path.name for path in tmp_path.iterdir()) == ["secrets.age", "secrets.yaml"]
        if done.returncode == 0:
            break
        assert done.returncode == -signal.SIGKILL, done.stderr
        found.append("new" if revealed(store) == new else "old")
    assert revealed(store) == new
    assert found == sorted(found, reverse=True)  # once the new one is there, it stays
    assert {"old", "new"} == set(found)
