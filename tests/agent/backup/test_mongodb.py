"""What MongoDB's programs are told. They are stand-ins here; test_mongodb_tools.py asks the real ones."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from otobotctl.agent.backup.course import Course, Item
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.mongodb import Mongo
from otobotctl.agent.dumps import Project

PASSWORD = "mongo-'password\"-4711"


class Inside(Project):
    """A container is this machine."""

    def inside(self, service: str, *argv: str) -> list[str]:
        """Run it here."""
        assert service == "mongo"
        return list(argv)


class Doors(Hands):
    """Every command is written down."""

    def __init__(self) -> None:
        super().__init__(Inside("otobot-acme", "/opt"), lambda _: None)
        self.told: list[tuple[list[str], str]] = []
        self.fails = ""

    def environment(self, service: str) -> dict[str, str]:
        """As Compose says it."""
        return {"MONGO_INITDB_ROOT_PASSWORD": PASSWORD}

    def tell(self, argv, stdin, what):
        """Note it."""
        self.told.append((list(argv), stdin))
        if self.fails and self.fails in argv[-1]:
            raise RestoreError(f"mongosh: {PASSWORD} is wrong")
        return "0\n"


@pytest.fixture
def course(tmp_path: Path) -> Course:
    """A restore of one database under way."""
    made = Course(str(tmp_path / "restore.json"))
    made.begin("ID", "mark", [Item("mongo", "librechat", "mongo", "")])
    return made


def moves(doors: Doors) -> list[str]:
    return [argv[-1].rsplit("\n", 1)[1] for argv, _ in doors.told]


def test_a_dump_goes_to_a_database_beside_with_the_password_in_no_argument(tmp_path, monkeypatch):
    """Mongorestore reads the archive on stdin and its password from a descriptor that the shell fills."""
    program = tmp_path / "mongorestore"
    program.write_text(
        f'#!/bin/sh\ncat /dev/fd/3 >{tmp_path}/password; echo "$@" >{tmp_path}/words; cat >{tmp_path}/got\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr("otobotctl.agent.run.PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setenv("MONGO_INITDB_ROOT_PASSWORD", PASSWORD)
    source = subprocess.Popen(["echo", "an archive"], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    Mongo(Doors(), "mongo").fill("librechat", "librechat_restoring", source, packed=False)
    assert (tmp_path / "got").read_text() == "an archive\n"
    assert (tmp_path / "password").read_text() == "password: 'mongo-''password\"-4711'\n"
    words = (tmp_path / "words").read_text()
    assert "--nsFrom=librechat.* --nsTo=librechat_restoring.*" in words
    assert PASSWORD not in words
    assert "--gzip" not in words


def test_collections_move_away_once_and_come_back_from_wherever_they_are(course):
    """What is noted as moved away is never moved away again: it would be the restored data."""
    doors, (item,) = Doors(), course.items
    mongo = Mongo(doors, "mongo")
    doors.fails = 'move("librechat_restoring"'
    with pytest.raises(RestoreError) as caught:
        mongo.exchange(item, course)
    assert PASSWORD not in str(caught.value)
    assert moves(doors) == ['move("librechat", "librechat_before_mark");', 'move("librechat_restoring", "librechat");']
    said = json.dumps(PASSWORD)
    assert all(PASSWORD not in " ".join(argv) and said in stdin for argv, stdin in doors.told)
    doors.told, doors.fails = [], ""
    mongo.exchange(item, course)
    assert moves(doors) == ['move("librechat_restoring", "librechat");']
    doors.told = []
    left = Course.left(course._path)
    mongo.back(item, left)
    assert moves(doors) == ['drop("librechat");', 'move("librechat_before_mark", "librechat");']
    doors.told = []
    mongo.back(item, Course.left(course._path))  # killed after the drop: nothing of the former data goes
    assert moves(doors) == ['move("librechat_before_mark", "librechat");']
    assert json.loads(Path(course._path).read_text())["done"] == []
