"""The host's audit: only added to, each row linked to the one before, whatever crashed or was changed since."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from multiprocessing import get_context

import pytest

from otobotctl.agent import caller, ledger
from otobotctl.agent.places import Places
from otobotctl.agent.protocol import broken_at, linked
from tests.waiting import until

READY = 20


def lines_of(path):
    return path.read_bytes().splitlines()


def write(path, count=3):
    for number in range(count):
        ledger.add(str(path), {"event": "exec", "n": number})


def test_rows_are_linked_and_read_back(tmp_path):
    """What is added is read back whole, in order, by root alone."""
    path = tmp_path / "audit.jsonl"
    assert b"".join(ledger.blocks(str(path))) == b""
    write(path)
    assert b"".join(ledger.blocks(str(path))) == path.read_bytes()
    assert [json.loads(line)["n"] for line in lines_of(path)] == [0, 1, 2]
    assert broken_at(lines_of(path)) is None
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_changed_row_is_found(tmp_path, number):
    """The row after it (or, of the last, an anchor) shows it; a row taken out or put in is shown by the next."""
    path = tmp_path / "audit.jsonl"
    write(path, 4)
    lines = lines_of(path)
    changed = [line.replace(b'"exec"', b'"else"') if at == number else line for at, line in enumerate(lines, 1)]
    assert broken_at(changed) == number + 1
    assert broken_at([line for at, line in enumerate(lines, 1) if at != number]) == number
    assert broken_at([*lines[:number], linked(b"x", {"n": 9}).rstrip(), *lines[number:]]) == number + 1
    assert broken_at([*lines[:number], b"garbage", *lines[number:]]) == number + 2


def test_a_row_that_a_crash_cut_short_stays_and_breaks_nothing(tmp_path):
    """The next row is linked to what is left of it."""
    path = tmp_path / "audit.jsonl"
    write(path, 2)
    with path.open("ab") as stream:
        stream.write(b'{"at":1,"event":"ex')
    assert broken_at(lines_of(path)) is None
    write(path, 1)
    assert len(lines_of(path)) == 4
    assert broken_at(lines_of(path)) is None


def _many(path, count):
    for number in range(count):
        ledger.add(path, {"n": number})


def test_several_at_once_do_not_break_it(tmp_path):
    """Each waits for the other: no row is lost, none is linked to the wrong one."""
    path = tmp_path / "audit.jsonl"
    context = get_context("spawn")
    writers = [context.Process(target=_many, args=(str(path), 50)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0] * 4
    assert len(lines_of(path)) == 200
    assert broken_at(lines_of(path)) is None


def test_killed_at_any_moment(tmp_path):
    """A kill -9 while rows are written: what is there is whole, and it goes on."""
    path = tmp_path / "audit.jsonl"
    code = f"from otobotctl.agent import ledger\nwhile True: ledger.add({str(path)!r}, {{'event': 'x' * 500}})"
    for _ in range(3):
        before = len(lines_of(path)) if path.exists() else 0
        process = subprocess.Popen([sys.executable, "-c", code])
        until(lambda more=before + READY: path.exists() and len(lines_of(path)) >= more, f"{READY} rows", pause_s=0.01)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        assert broken_at(lines_of(path)) is None
    write(path, 1)
    assert broken_at(lines_of(path)) is None


def test_a_note_says_who_and_from_where(tmp_path, monkeypatch):
    """The account that sudo names, and the address of the SSH session above it."""
    monkeypatch.setenv("SUDO_USER", "paul")
    places = Places(str(tmp_path / "agent" / "kept"), str(tmp_path), str(tmp_path / "run"))
    code = "import sys\nfrom otobotctl.agent import caller\nprint(caller.address())"
    said = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "SSH_CONNECTION": "203.0.113.9 5 10.0.0.1 22"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert said.stdout == "203.0.113.9\n"
    ledger.note(places, "shell", who="paul@laptop")
    row = json.loads((tmp_path / "audit.jsonl").read_bytes())
    assert (row["event"], row["account"], row["who"]) == ("shell", "paul", "paul@laptop")
    assert caller.account() == "paul"
