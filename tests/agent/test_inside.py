"""A command in a service's container: its stdout as it comes, its stdin whole, the end of its stderr."""

from __future__ import annotations

import json
import os
import sys
import threading

import pytest

from otobotctl.agent import inside as module
from otobotctl.agent.inside import inside
from otobotctl.agent.running import Running
from otobotctl.agent.wire import RefusedError, Wire


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Run a Python text as the container's command; its records and the bytes it said."""
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\nshift 3\nexec {sys.executable} "$@"\n')
    docker.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(module, "running", lambda _project: [Running("c0ffee", "vault-api")])

    def go(text, given="", service="vault-api", on_block=lambda: None):
        reading, writing = os.pipe()
        got = []

        def listen():
            with os.fdopen(reading, "rb") as stream:
                for record in _records(stream):
                    got.append(record)
                    on_block()

        listener = threading.Thread(target=listen)
        listener.start()
        try:
            inside({"project": "p", "service": service, "argv": ["-c", text], "input": given}, Wire(writing))
        finally:
            os.close(writing)
            listener.join()
        return got

    return go


def _records(stream):
    for line in stream:
        record = json.loads(line)
        yield stream.read(record["block"]) if "block" in record else record


def test_much_in_and_much_out(run):
    """Neither end waits for the other: what goes in comes out, megabytes of it, with a word on stderr a line."""
    text = "import sys\nfor line in sys.stdin: sys.stdout.write(line); sys.stderr.write('x' * 99 + '\\n')"
    given = "".join(f"{number}\n" for number in range(200_000))
    *blocks, end = run(text, given)
    assert b"".join(blocks).decode() == given
    assert end == {"exit": 0, "said": ["x" * 99] * 20}


def test_lines_come_while_the_command_runs(run, tmp_path):
    """What was said is there before the end: the command waits for us to have read it."""
    heard = tmp_path / "heard"
    text = f"""import pathlib, sys, time
sys.stdout.write('first'); sys.stdout.flush()
end = time.monotonic() + 60
while not pathlib.Path({str(heard)!r}).exists():
    if time.monotonic() > end: sys.exit('nobody heard it')
    time.sleep(0.02)
print('last')"""
    *blocks, end = run(text, on_block=heard.touch)
    assert (b"".join(blocks), end) == (b"firstlast\n", {"exit": 0, "said": []})


def test_a_command_that_reads_nothing_and_fails(run):
    """Its exit status and last words, whatever was meant for its stdin."""
    assert run("import sys; sys.exit('no')", "x" * 1_000_000) == [{"exit": 1, "said": ["no"]}]


def test_a_service_that_does_not_run(run):
    """Refused by name."""
    with pytest.raises(RefusedError, match="n8n of p does not run here"):
        run("", service="n8n")
