"""The demo as a newcomer runs it: its embedded half, its table, and what it leaves behind."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.story import place
from tests.waiting import until

ROOT = Path(__file__).resolve().parents[2]
CLAIMS = 16
LIMIT_S = 300


def environment(**more):
    return {**os.environ, "OTOBOTCTL_DEMO_TARGET": "embedded", "PYTHONUNBUFFERED": "1", **more}


def listening(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_embedded_demo_proves_every_claim():
    """scripts/demo exits 0, its last lines are the table with every claim proved and timed, and its directory is gone."""
    done = subprocess.run(
        ["bash", "scripts/demo"],
        cwd=ROOT,
        env=environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.rstrip().splitlines()
    total = lines[-1]
    assert re.fullmatch(rf"\s*{CLAIMS} of {CLAIMS} proved\s+target: embedded PostgreSQL\s+\d+\.\d", total)
    rows = lines[-2 - CLAIMS : -2]
    assert all(re.fullmatch(r"ok  \S.*\S  +\d+\.\d", row) for row in rows), rows
    table = "\n".join(rows)
    for claim in (
        "a second render is byte-equal",
        "a credential is stored and read back",
        "a moved or changed ciphertext is refused",
    ):
        assert claim in table
    (manifest,) = re.findall(r"^  manifest +(\S+)$", done.stdout, re.MULTILINE)
    assert not Path(manifest).parents[1].exists()


class Running:
    """A demo that runs, stopped where its story has reached a line."""

    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "scripts.story"],
            cwd=ROOT,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.said = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.communicate()

    def read_to(self, words):
        for line in self.process.stdout:
            self.said += line
            if words in line:
                return
        pytest.fail(f"the demo ended before it said {words!r}: {self.said}")

    def finish(self):
        rest, _ = self.process.communicate(timeout=LIMIT_S)
        self.said += rest
        return self.process.returncode

    @property
    def directories(self):
        return sorted(Path("/tmp").glob(f"otobot-*-{self.process.pid}-*"))

    @property
    def ports(self):
        return [int(port) for port in re.findall(r"127\.0\.0\.1:(\d+)(?= \(|/health)", self.said)]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_demo_leaves_nothing(number):
    """Ctrl-C or SIGTERM with PostgreSQL and the vault up: exit 130, both are gone, and the directories too."""
    with Running() as demo:
        demo.read_to("the vault API starts and is healthy")
        database, vault = demo.ports
        assert listening(database)
        demo.process.send_signal(number)
        assert demo.finish() == 130, demo.said
    assert "interrupted" in demo.said
    assert not listening(database)
    assert not listening(vault)
    assert demo.directories == []


def test_a_killed_demo_leaves_no_process():
    """Kill -9 of the demo takes PostgreSQL and the vault with it."""
    with Running() as demo:
        demo.read_to("the vault API starts and is healthy")
        assert len(demo.ports) == 2
        demo.process.kill()
        demo.finish()
    for port in demo.ports:
        until(lambda port=port: not listening(port), f"nobody serves port {port} any more", limit_s=LIMIT_S)
    assert len(demo.directories) == 2
    for name in ("demo", "postgres"):
        with place.directory(name):
            pass
    assert demo.directories == []


def test_a_failing_claim_ends_the_demo_with_1():
    """Where the command line fails, the table says which claim, and the exit code is 1."""
    program = (
        "import sys; from scripts.story import fleet; fleet.DOMAIN = 'nonsense'; "
        "import scripts.story.__main__ as story; sys.exit(story.main())"
    )
    argv = [sys.executable, "-c", program]
    done = subprocess.run(
        argv, cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 1, done.stdout + done.stderr
    table = done.stdout.rstrip().splitlines()[-5:]
    assert any(line.startswith("FAILED  a host and a client are added") for line in table), table
    assert "1 of 2 proved" in table[-1]
    assert "Traceback" not in done.stdout + done.stderr
