"""`otobot-backup`: what timers and operators start, and what they are told when it cannot be."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from otobotctl.agent.backup import command, places
from otobotctl.agent.backup.restic import Restic

TARGET = {
    "name": "nas", "repository": "rest:https://box.example/acme", "options": [], "append_only": False,
    "environment": {"RESTIC_REST_USERNAME": "acme", "RESTIC_REST_PASSWORD": "p:ss/w@rd"},
}  # fmt: skip


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host that has a job of acme."""
    (tmp_path / "acme").mkdir()
    (tmp_path / "acme/job.json").write_text(json.dumps({"version": 1, "client": "acme", "targets": [TARGET]}))
    monkeypatch.setattr(command, "HOME", str(tmp_path))
    monkeypatch.setattr(places.BackupPlaces.__init__, "__defaults__", (str(tmp_path), str(tmp_path), str(tmp_path)))
    return tmp_path


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("",),
        ("../acme",),
        ("acme", "restore"),
        ("acme", "run", "now"),
        ("acme", "restic"),
        ("acme", "restic", "nas"),
    ],
)
def test_what_cannot_be_meant_is_answered_with_the_usage(
    arguments: Sequence[str], host: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And with 2; nothing is started."""
    assert command.main(arguments) == command.USAGE
    assert (
        "usage: otobot-backup CLIENT [run|verify|drill|erasures|wal|base|restic TARGET WORDS...]"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize(("word", "module"), sorted(command.WORDS.items()))
def test_each_word_of_a_timer_has_its_program(
    word: str, module: str, host: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its status is the command's; without a word it is the run."""
    found = __import__(f"otobotctl.agent.backup.{module}", fromlist=["main"])
    monkeypatch.setattr(found, "main", {"acme": 7}.get)
    assert command.main(("acme", word)) == 7
    if word == "run":
        assert command.main(("acme",)) == 7


def test_a_client_without_targets_is_told(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In one line."""
    assert command.main(("beta", "run")) == command.USAGE
    assert capsys.readouterr().err == "beta has no backup targets on this host\n"


def test_an_operator_gets_restic_with_the_targets_credentials(host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No credential is among the arguments; every version of restic finds the login in the repository's address."""
    began = []
    monkeypatch.setattr("os.execvpe", lambda program, argv, env: began.append((program, argv, env)))
    command.main(("acme", "restic", "nas", "snapshots", "--json"))
    ((program, argv, environment),) = began
    assert (program, argv[-2:]) == ("restic", ["snapshots", "--json"])
    assert "p:ss/w@rd" not in " ".join(argv)
    assert environment["RESTIC_REPOSITORY"] == "rest:https://acme:p%3Ass%2Fw%40rd@box.example/acme"
    assert environment["RESTIC_PASSWORD_FILE"] == str(host / "acme/key")


def test_a_target_that_there_is_not_is_told(host: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that there are."""
    assert command.main(("acme", "restic", "tape", "snapshots")) == command.USAGE
    assert capsys.readouterr().err == "acme has no target tape; it has nas\n"


def test_a_login_of_a_rest_server_is_in_no_message() -> None:
    """Neither as it is nor as it stands in an address."""
    error = Restic(TARGET, "/key").failed("check", 1, b"Fatal: p:ss/w@rd and p%3Ass%2Fw%40rd are wrong")  # type: ignore[arg-type]
    assert "ss/w" not in str(error)
    assert "ss%2Fw" not in str(error)
