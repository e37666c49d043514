"""Whatever goes wrong in a run: it is noticed, told with what to do, and costs no older archive."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from tests.agent.backup.hosts import DUMP, SOURCES, BackupHost
from tests.waiting import until

SMALL = [SOURCES[1], SOURCES[3]]


@pytest.fixture
def host(tmp_path: Path) -> BackupHost:
    """A host with one local target, one database and one volume."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    made = BackupHost(tmp_path)
    made.make("disk")
    made.write_job(sources=SMALL)
    return made


def whole(host: BackupHost, name: str = "disk") -> list[str]:
    """The ids of a target's archives, after a look that each has all of its parts."""
    snapshots = host.snapshots(name)
    heads = {each["tags"][0][len("archive=") :]: each["id"] for each in snapshots if each["paths"] == ["/archive.json"]}
    found = sorted(heads)
    for ident in found:
        parts = json.loads(host.restic(name, "dump", heads[ident], "/archive.json"))["parts"]
        assert [part["name"] for part in parts] == [
            "/configuration.tar", "/databases/roles.sql", "/volumes/n8n_data.tar", "/databases/otobot_n8n.dump",
        ]  # fmt: skip
        for part in parts:  # restic before 0.17 says the beginning of an id
            assert any(each["id"].startswith(part["snapshot"]) for each in snapshots)
    return found


MOMENTS = [
    ("target", "disk"),
    ("part", "/configuration.tar"),
    ("part", "/volumes/n8n_data.tar"),
    ("part", "/databases/otobot_n8n.dump"),
    ("saved", "/databases/otobot_n8n.dump"),
]


def test_a_run_that_is_killed_leaves_nothing_that_looks_like_an_archive(host: BackupHost) -> None:
    """At each moment, alone and with all that it started; the next run is fine, and what is left over is pruned."""
    (first,) = {host.run()["disk"]["archive"]["id"]}
    host.inside("pg_dump", "sleep 0.2; cat @HERE@/rows; sleep 0.2")
    for number, (key, value) in enumerate(MOMENTS):
        host.kill("go()", lambda record: record.get(key) == value, all_of_it=bool(number % 2))  # noqa: B023
        assert first in whole(host)
    left = whole(host)  # a run that was killed behind its last part may have ended: then its archive is whole
    assert len(left) <= 2
    second = host.run()["disk"]["archive"]["id"]
    assert set(whole(host)) == {*left, second}
    assert len(host.snapshots("disk")) > 5 * len([*left, second])  # there are parts of no archive
    host.write_job(keep={"daily": 1})
    later = "import time; real = time.time; time.time = lambda: real() + 3 * 86400; go('schedule')"
    result = host.run(later)["disk"]
    assert result["error"] is None
    assert whole(host) == [result["archive"]["id"]]
    assert len(host.snapshots("disk")) == 5
    assert host.state()["targets"]["disk"]["pruned"] is not None
    host.restic("disk", "check", "--read-data")


def test_the_lock_of_a_killed_run_is_taken_away_by_the_next(host: BackupHost) -> None:
    """Of its processes that are gone alone; nobody asks for it where the last run has ended."""
    host.run()
    heard = host.hear_restic()
    host.kill("go()", lambda record: "saved" in record, all_of_it=True)
    assert not any(" unlock" in line for line in heard.read_text().splitlines())
    for times in (1, 0):
        heard.write_text("")
        assert host.run()["disk"]["error"] is None
        assert sum(" unlock" in line for line in heard.read_text().splitlines()) == times
    assert len(whole(host)) == 3


def test_services_that_a_killed_run_had_stopped_are_started_again(host: BackupHost) -> None:
    """By the process beside; and where that dies too, as in a power cut, by the next run."""
    before = host.running()
    host.inside("pg_dumpall", "touch @HERE@/stopped; sleep 60")
    for all_of_it in (False, True):
        process = host.start("go(consistent=True)")
        until((host.docker / "stopped").exists)
        assert "n8n" not in host.running()
        (os.killpg if all_of_it else os.kill)(process.pid, signal.SIGKILL)
        until(lambda: host.running() == before)
        process.communicate(timeout=120)
        (host.docker / "stopped").unlink()
    until(lambda: not (host.root / "state/acme/stopped.json").exists())
    (host.docker / "running/otobot-acme/n8n").unlink()
    (host.root / "state/acme/stopped.json").write_text('[["id-gone","gone"],["id-n8n","n8n"]]')
    host.inside("pg_dumpall", "echo roles")
    assert host.run("go(consistent=True)")["disk"]["archive"]["consistent"] is True
    assert before <= host.running()


def test_a_stop_signal_leaves_nothing_stopped_and_no_archive(host: BackupHost) -> None:
    """As systemd sends it when the machine goes down; it is told as such."""
    before = host.running()
    host.inside("pg_dumpall", "touch @HERE@/stopped; sleep 60")
    process = host.start("go(consistent=True)")
    until((host.docker / "stopped").exists)
    process.terminate()
    _, errors = process.communicate(timeout=120)
    assert errors == ""
    assert (host.running(), host.archives("disk")) == (before, [])
    assert "ended before it was done" in host.state()["targets"]["disk"]["attempt"]["error"]


def test_a_dump_that_fails_leaves_no_archive(host: BackupHost) -> None:
    """However much of it came; the message has the program's own words."""
    host.run()
    host.inside("pg_dump", "head -c 100000 @HERE@/rows; echo 'connection lost' >&2; exit 1")
    error = host.run()["disk"]["error"]
    assert error["kind"] == "part"
    assert "connection lost" in error["message"]
    assert len(whole(host)) == 1


def test_what_a_deploy_has_interrupted_is_made_again(host: BackupHost) -> None:
    """Once: the containers that were read are others now. A dump that fails without one is a failure at once."""
    host.inside("pg_dump", "[ -e @HERE@/deployed ] && exec cat @HERE@/rows; touch @HERE@/deployed; exit 137")
    (host.root / "opt/acme/state.json").write_text("{}")
    os.utime(host.root / "opt/acme/state.json", (2_000_000_000, 2_000_000_000))
    assert host.run()["disk"]["error"] is None
    assert len(whole(host)) == 1
    (host.docker / "deployed").unlink()
    os.utime(host.root / "opt/acme/state.json", (1_000_000_000, 1_000_000_000))
    assert host.run()["disk"]["error"]["kind"] == "part"


def test_a_database_that_does_not_answer_is_told(host: BackupHost) -> None:
    """By psql's own words; nothing is dumped of it."""
    host.inside("psql", "echo 'FATAL: the database system is starting up' >&2; exit 2")
    error = host.run()["disk"]["error"]
    assert "otobot_n8n: its database does not answer: FATAL: the database system is starting up" in error["message"]


def test_a_wrong_key_is_told_and_nothing_is_written(host: BackupHost) -> None:
    """With another key the repository stays as it is; with the right one all is there."""
    host.run()
    key = host.root / "etc/acme/key"
    right = key.read_text()
    key.write_text("another")
    error = host.run()["disk"]["error"]
    key.write_text(right)
    assert error["kind"] == "password"
    assert "BACKUP_KEY" in error["remedy"]
    assert len(whole(host)) == 1


def test_a_repository_that_is_gone_is_not_made_anew(host: BackupHost) -> None:
    """A disk that is not mounted: an empty repository there would look like a backup."""
    host.run()
    place = Path(host.targets["disk"]["repository"])
    place.rename(place.with_name("unmounted"))
    error = host.run()["disk"]["error"]
    assert error["kind"] == "absent"
    assert "mount" in error["remedy"]
    assert not place.exists()
    place.with_name("unmounted").rename(place)
    archive = host.run()["disk"]["archive"]
    assert archive["bytes"] > len(DUMP)
    assert (archive["added"] < len(DUMP) // 10, archive["grew"]) == (True, 0)  # a full set, of which little is new


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB."""
    place = tmp_path / "small"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", place], check=False).returncode:
        pytest.skip("this needs root")
    yield place
    subprocess.run(["umount", "--lazy", place], check=True)


def test_a_full_disk_costs_no_older_archive(host: BackupHost, small_disk: Path) -> None:
    """It is told as such, and the archive before is still read back."""
    host.targets.clear()
    host.target("disk", str(small_disk / "repository"))
    first = host.run()["disk"]["archive"]["id"]
    (host.docker / "rows").write_bytes(os.urandom(12_000_000))
    error = host.run("go(limit_s=240.0)")["disk"]["error"]
    assert error["kind"] == "full", error
    assert "free room" in error["remedy"]
    assert whole(host) == [first]
    known = host.state()["targets"]["disk"]
    assert (known["archive"]["id"], "no space left" in known["attempt"]["error"]) == (first, True)


def held_by(locks: Path) -> list[Path]:
    """The locks of a repository, once there are some that are whole."""

    def found() -> list[Path]:
        return [path for path in locks.iterdir() if "-tmp" not in path.name]

    until(found)
    return found()


def test_a_stale_lock_is_taken_away_and_a_live_one_is_not(host: BackupHost) -> None:
    """Of a process that is gone, also an exclusive one; while somebody works there, only the prune has to wait."""
    host.run()
    locks = Path(host.targets["disk"]["repository"]) / "locks"
    environment = {**os.environ, "RESTIC_PASSWORD_FILE": str(host.root / "etc/acme/key")}
    argv = ["restic", "--no-cache", "--quiet", "--repo", host.targets["disk"]["repository"]]
    died = subprocess.Popen([*argv, "backup", "--stdin"], stdin=subprocess.PIPE, env=environment)
    (stale,) = held_by(locks)
    died.kill()
    died.communicate()
    assert host.run("go('schedule')")["disk"]["error"] is None
    assert not stale.exists()
    assert host.state()["targets"]["disk"]["pruned"] is not None
    with subprocess.Popen([*argv, "backup", "--stdin"], stdin=subprocess.PIPE, env=environment) as alive:
        (held,) = held_by(locks)
        briefly = "from otobotctl.agent.backup import restic; restic._PATIENCE_S = runner.PRUNE_EVERY_S = 0.0; "
        result = host.run(briefly + "go('schedule')")["disk"]
        assert result["error"] is None  # the prune of today is not so urgent
        assert held.exists()
        result = host.run(briefly + "runner._STUCK_S = 0.0; go('schedule')")["disk"]
        assert result["error"]["kind"] == "locked"
        assert held.exists()
        assert alive.stdin is not None
        alive.stdin.close()
    assert len(whole(host)) == 4


def test_an_exclusive_lock_of_a_process_that_is_gone_stops_no_archive(host: BackupHost) -> None:
    """As a prune leaves one that is killed: it is met, taken away, and the archive is made after all."""
    host.run()
    locks = Path(host.targets["disk"]["repository"]) / "locks"
    environment = {**os.environ, "RESTIC_PASSWORD_FILE": str(host.root / "etc/acme/key")}
    argv = ["restic", "--no-cache", "--quiet", "--repo", host.targets["disk"]["repository"], "check", "--read-data"]

    def whole_ones() -> list[Path]:
        return [path for path in locks.iterdir() if "-tmp" not in path.name]

    for _ in range(50):  # it may be done before it is killed
        with subprocess.Popen(argv, env=environment, stdout=subprocess.DEVNULL) as died:
            while died.poll() is None and not whole_ones():
                pass
            died.kill()
        if whole_ones():
            break
    heard = host.hear_restic()
    result = host.run()["disk"]
    assert result["error"] is None, result
    assert any(" unlock" in line for line in heard.read_text().splitlines())
    assert not whole_ones()
    assert len(whole(host)) == 2


def test_a_target_that_hangs_is_given_up_and_the_others_are_served(host: BackupHost) -> None:
    """One that takes connections and says nothing, for which no service is stopped; and one that is fine."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host.targets = {}
        host.target("silent", f"rest:http://127.0.0.1:{silent.getsockname()[1]}/")
        host.target("disk", str(host.root / "repositories/disk"))
        results = host.run("runner.ANSWER_S = 15.0; go(consistent=True)")
    assert results["silent"]["error"]["kind"] == "slow"
    assert "does not answer in 15 s" in results["silent"]["error"]["message"]
    assert results["disk"]["error"] is None
    assert len(whole(host)) == 1
    stops = [line for line in (host.docker / "calls").read_text().splitlines() if line.startswith("stop ")]
    assert len(stops) == 1


# The run's clock, which jumps as soon as the dump has begun.
_AN_HOUR_LATER = """
import os, time, types
from otobotctl.agent.backup import clock
begun = sys.argv[1] + "/docker/pid"
clock.time = types.SimpleNamespace(monotonic=lambda: time.monotonic() + 3600 * os.path.exists(begun))
"""


def test_a_run_that_takes_too_long_is_ended(host: BackupHost) -> None:
    """With everything that it started; it leaves no archive."""
    host.inside("pg_dump", "echo $$ >@HERE@/new; mv @HERE@/new @HERE@/pid; exec sleep 1000")
    error = host.run(_AN_HOUR_LATER + "go(limit_s=600.0)")["disk"]["error"]
    assert error["kind"] == "slow"
    assert "took longer than 600 s" in error["message"]
    assert host.archives("disk") == []
    number = int((host.docker / "pid").read_text())

    def gone() -> bool:
        with contextlib.suppress(ProcessLookupError):
            os.kill(number, 0)
            return "Z" in Path(f"/proc/{number}/stat").read_text().split(")")[1]
        return True

    until(gone)


class Heard(BaseHTTPRequestHandler):
    """Keeps what was posted."""

    bodies: ClassVar[list[str]] = []

    def do_POST(self) -> None:
        """Take it."""
        self.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def test_a_failure_and_its_end_are_told_by_webhook_mail_and_figures(host: BackupHost) -> None:
    """Each once, without a secret; a webhook that does not answer is a warning that does not name its address."""
    Heard.bodies.clear()
    server = HTTPServer(("127.0.0.1", 0), Heard)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host._program("bin/sendmail", f"#!/bin/sh\ncat >>{host.root}/mail\n")
    address = f"http://127.0.0.1:{server.server_port}/token-of-the-hook"
    host.write_job(webhook=address, mail="ops@otobot.example")
    host.run()
    assert Heard.bodies == []  # nothing happened worth a word
    host.inside("pg_dump", "exit 1")
    host.run()
    host.inside("pg_dump", "echo rows")
    host.run()
    host.kill("go()", lambda record: "part" in record, all_of_it=True)
    host.run()
    server.shutdown()
    server.server_close()
    failed, recovered, killed, _ = Heard.bodies
    assert '"reason": "killed"' in killed
    assert "it did not end" in killed
    assert '"event": "backup_failed"' in failed
    assert "otobotctl backup run acme" in failed
    assert '"event": "backup_recovered"' in recovered
    mail = (host.root / "mail").read_text()
    assert "Subject: acme: the backup on" in mail
    assert mail.count("Subject: ") == 4
    for text in (*Heard.bodies, mail):
        assert "password-of-the-repository" not in text
        assert "token-of-the-hook" not in text
    figures = (host.metrics / "otobot-backup-acme.prom").read_text()
    assert 'otobot_backup_success{client="acme",target="disk"} 1' in figures
    assert 'otobot_backup_size_bytes{client="acme",target="disk"} ' in figures
    assert (host.metrics / "otobot-backup-acme.prom").stat().st_mode & 0o777 == 0o644
    host.inside("pg_dump", "exit 1")
    host.run()
    (warning,) = [each["warning"] for each in host.said if "warning" in each]
    assert warning == "the webhook did not take it (URLError)"
    assert (
        'otobot_backup_success{client="acme",target="disk"} 0' in (host.metrics / "otobot-backup-acme.prom").read_text()
    )
