"""MongoDB's own programs do what is asked of them. Where they are not installed this says so and tries nothing.

A server has to listen at 127.0.0.1:27017 whose otobot_admin has the password $OTOBOT_TEST_MONGODB_PASSWORD. Its
databases librechat, librechat_restoring and librechat_before_mark are overwritten.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from otobotctl.agent import dumps
from otobotctl.agent.backup.course import Course, Item
from otobotctl.agent.backup.drilling import _DOCUMENTS
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.mongodb import Mongo

PROGRAMS = ("mongodump", "mongorestore", "mongosh")
PASSWORD = os.environ.get("OTOBOT_TEST_MONGODB_PASSWORD", "")

pytestmark = pytest.mark.skipif(
    not PASSWORD or not all(map(shutil.which, PROGRAMS)),
    reason=f"{', '.join(PROGRAMS)} and a server for them ($OTOBOT_TEST_MONGODB_PASSWORD) are not here",
)


class Inside(dumps.Project):
    """A container is this machine."""

    def inside(self, service: str, *argv: str) -> list[str]:
        """Run it here."""
        return [str(shutil.which(argv[0])), *argv[1:]]


class Doors(Hands):
    """What Compose would say."""

    def __init__(self) -> None:
        super().__init__(Inside("otobot-acme", "/opt"), lambda _: None)

    def environment(self, service: str) -> dict[str, str]:
        """The password of the server."""
        return {dumps.MONGO_PASSWORD: PASSWORD}


@pytest.fixture
def mongo(monkeypatch: pytest.MonkeyPatch) -> Iterator[Mongo]:
    """A server with a database of three documents in two collections."""
    monkeypatch.setattr("otobotctl.agent.run.PATH", os.environ["PATH"])
    monkeypatch.setenv(dumps.MONGO_PASSWORD, PASSWORD)
    monkeypatch.setattr(dumps, "_environment", lambda *_: {dumps.MONGO_PASSWORD: PASSWORD})
    made = Mongo(Doors(), "mongo")
    made.drop("librechat", "librechat_restoring", "librechat_before_mark")
    made._run('server.getDB("librechat").users.insertOne({email: "anna@acme.example"});')
    made._run('server.getDB("librechat").messages.insertMany([{n: 1, text: "é"}, {n: 2, at: new Date(0)}]);')
    yield made
    made.drop("librechat", "librechat_restoring", "librechat_before_mark")


def dumped(*, packed: bool) -> subprocess.CompletedProcess[bytes]:
    """What an archive has of the database."""
    project = Inside("otobot-acme", "/opt")
    source = {"kind": "mongo", "name": "librechat", "service": "mongo", "of": "librechat", "exclude": []}
    (dump,) = (each for each in dumps.dumps([source], project, packed) if each.program == "mongodump")
    assert PASSWORD not in " ".join(dump.argv)
    return subprocess.run(dump.argv, input=dump.stdin, capture_output=True, check=False, timeout=120)


def stream(data: bytes, folder: Path) -> subprocess.Popen[bytes]:
    """As restic would print it."""
    (folder / "archive").write_bytes(data)
    return subprocess.Popen(["cat", folder / "archive"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def counts(mongo: Mongo, name: str) -> dict[str, int]:
    """The documents of each collection."""
    text = "print(JSON.stringify(Object.fromEntries(names({0}).map((each) => [each, server.getDB({0})[each].countDocuments({{}})]))));"  # fmt: skip
    found: dict[str, int] = json.loads(mongo._run(text.format(json.dumps(name))).strip().splitlines()[-1])
    return found


@pytest.mark.parametrize("packed", [True, False])
def test_an_archive_comes_back_beside_and_then_in_its_place(mongo: Mongo, tmp_path: Path, packed: bool) -> None:
    """By login and with the archive on stdin; collections change places, and what was there comes back when undone."""
    archive = dumped(packed=packed)
    assert archive.returncode == 0, archive.stderr
    mongo._run('server.getDB("librechat").users.insertOne({email: "of later"});')
    mongo.fill("librechat", "librechat_restoring", stream(archive.stdout, tmp_path), packed=packed)
    assert counts(mongo, "librechat_restoring") == {"users": 1, "messages": 2}
    course = Course(str(tmp_path / "restore.json"))
    course.begin("ID", "mark", [Item("mongo", "librechat", "mongo", "")])
    (item,) = course.items
    mongo.exchange(item, course)
    assert counts(mongo, "librechat") == {"users": 1, "messages": 2}
    mongo.back(item, course)
    assert counts(mongo, "librechat") == {"users": 2, "messages": 2}


def test_a_cut_archive_is_an_error(mongo: Mongo, tmp_path: Path) -> None:
    """Nothing is called restored that is half there, and no password is in the message."""
    archive = dumped(packed=False).stdout
    with pytest.raises(RestoreError) as caught:
        mongo.fill("librechat", "librechat_restoring", stream(archive[: len(archive) * 3 // 4], tmp_path), packed=False)
    assert PASSWORD not in str(caught.value)


def test_a_wrong_password_is_an_error(mongo: Mongo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dump of nobody ends with a status of its own, so that no archive has it."""
    monkeypatch.setattr(dumps, "_environment", lambda *_: {dumps.MONGO_PASSWORD: "wrong"})
    assert dumped(packed=False).returncode != 0


def test_what_a_drill_reads_is_what_mongorestore_says(mongo: Mongo, tmp_path: Path) -> None:
    """How many documents were restored, and how many were not."""
    archive = dumped(packed=False).stdout
    (tmp_path / "login").write_text(f"password: {json.dumps(PASSWORD)}\n")
    login = (f"--config={tmp_path}/login", "--username=" + dumps.ADMIN, "--authenticationDatabase=admin")
    argv = ("mongorestore", "--archive", "--stopOnError", "--drop", *login)
    done = subprocess.run(argv, input=archive, capture_output=True, check=True, timeout=120)
    told = _DOCUMENTS.search(done.stderr.decode())
    assert told is not None, done.stderr
    assert told.groups() == ("3", "0")
    assert counts(mongo, "librechat") == {"users": 1, "messages": 2}
