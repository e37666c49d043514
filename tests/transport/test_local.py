"""The operator's own machine as a door."""

from __future__ import annotations

import pytest

from otobotctl.errors import HostUnreachableError
from otobotctl.transport.local import LocalDoor


def test_local_door_speaks_the_same_protocol():
    """Input, lines, status and stderr are those of the command; words are not a shell's."""
    door = LocalDoor()
    channel = door.execute(("sh", "-c", 'head -c 3; echo "$1"; echo no >&2; exit 255', "sh", "$HOME *"))
    channel.send(b"in\n")
    assert list(channel.lines()) == [b"in", b"$HOME *"]
    finished = channel.finish()
    assert (finished.status, finished.stderr) == (255, "no\n")
    door.close()


def test_missing_program_is_status_127():
    """As over ssh: a status and a word on stderr, not a Python error."""
    finished = LocalDoor().execute(("otobotctl-no-such-program", "$x")).finish()
    assert finished.status == 127
    assert "otobotctl-no-such-program: not found" in finished.stderr


def test_silence_and_close():
    """Silence raises, and closing the door ends what runs."""
    door = LocalDoor()
    with pytest.raises(HostUnreachableError, match="said nothing"):
        door.execute(("sleep", "600"), silence_s=0.2).finish()
    channel = door.execute(("sleep", "600"))
    door.close()
    assert channel._process.poll() is not None
