"""What is planned on a host: repositories that answer, are made when asked for, and are never made over one that is gone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_private_key

from otobotctl.agent.backup import scheduled
from otobotctl.agent.backup.places import BackupPlaces
from otobotctl.agent.shell import Answer
from otobotctl.secrets.mint import mint
from tests.agent.backup.conftest import target


class Told:
    """A line that only keeps what is sent."""

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def send(self, record: dict[str, Any]) -> None:
        self.records.append(record)


@pytest.fixture
def here(tmp_path: Path) -> BackupPlaces:
    """A host with acme's job, for one directory; its key, and the key for SFTP."""
    if shutil.which("restic") is None:
        pytest.skip("restic is not installed")
    home = tmp_path / "home/acme"
    home.mkdir(parents=True)
    (home / "job.json").write_text(json.dumps({"version": 1, "targets": [target(tmp_path / "repository")]}))
    (home / "key").write_text("one password\n")
    (home / "id_ed25519").touch(0o600)
    (home / "id_ed25519").write_text(mint("ed25519", lambda count: b"s" * count))
    return BackupPlaces("acme", str(tmp_path / "home"), str(tmp_path / "state"), str(tmp_path / "run"))


def asked(here: BackupPlaces, *, init: bool = False) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the host says of its one repository, and of its plan."""
    told = Told()
    scheduled.serve(here, (), init, told)  # type: ignore[arg-type]
    first, last = told.records
    return first["repository"], last["planned"]


def test_a_repository_is_made_when_asked_for_and_once(here: BackupPlaces, tmp_path: Path) -> None:
    """A look makes nothing; the second time it is there already."""
    found, _ = asked(here)
    assert (found["ready"], found["never"], found["error"]["kind"]) == (False, True, "absent")
    assert not (tmp_path / "repository/config").exists()
    made, _ = asked(here, init=True)
    assert (made["ready"], made["made"], made["error"]) == (True, True, None)
    assert (tmp_path / "repository/config").exists()
    assert asked(here, init=True)[0] == {"target": "disk", "ready": True, "made": False, "error": None}


def test_one_that_had_an_archive_and_is_gone_is_not_made_anew(here: BackupPlaces, tmp_path: Path) -> None:
    """A disk that is not mounted would get an empty repository, and that would look like a backup."""
    asked(here, init=True)
    (tmp_path / "state/acme").mkdir(parents=True, exist_ok=True)
    archive = {"archive": {"id": "one", "made": 1.0}}
    (tmp_path / "state/acme/state.json").write_text(json.dumps({"version": 1, "targets": {"disk": archive}}))
    shutil.rmtree(tmp_path / "repository")
    found, _ = asked(here, init=True)
    assert (found["ready"], found["never"], found["error"]["kind"]) == (False, False, "absent")
    assert not (tmp_path / "repository").exists()


def test_one_of_another_password_is_told_and_left_alone(here: BackupPlaces, tmp_path: Path) -> None:
    """Its remedy names the client."""
    asked(here, init=True)
    (tmp_path / "home/acme/key").write_text("another password\n")
    found, _ = asked(here, init=True)
    assert found["error"]["kind"] == "password"
    assert "acme" in found["error"]["remedy"]


def test_the_public_key_and_the_times_are_told(here: BackupPlaces, monkeypatch: pytest.MonkeyPatch) -> None:
    """The key as it is placed at a storage; a timer without a next time has none."""
    times = {"": "Sun 2026-11-22 02:03:04 UTC", "-verify": "", "-drill": "n/a"}
    monkeypatch.setattr(
        scheduled.systemd,
        "show_all",
        lambda names, _: [{"NextElapseUSecRealtime": times[name[len("otobot-backup-acme") : -6]]} for name in names],
    )
    _, planned = asked(here)
    key = load_ssh_private_key((Path(here.home) / "id_ed25519").read_bytes(), None).public_key()
    public = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    assert planned["public_key"] == f"{public} otobot-backup-acme"
    assert planned["next"] == {"run": 1795312984.0, "verify": None, "drill": None}
    monkeypatch.setattr(scheduled, "ask", lambda _: Answer(1, "", "no"))
    assert asked(here)[1]["public_key"] == ""


def test_a_client_without_a_job_is_said_to_have_none(tmp_path: Path) -> None:
    """It is not an error: the host waits for a deploy."""
    told = Told()
    where = BackupPlaces("beta", str(tmp_path), str(tmp_path), str(tmp_path))
    scheduled.serve(where, (), True, told)  # type: ignore[arg-type]
    assert told.records == [{"planned": {"client": "beta", "deployed": False, "public_key": "", "next": {}}}]
