"""The real restic, as hosts drive it."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path

import pytest

from otobotctl.agent.backup.restic import Restic, ResticError
from otobotctl.transport.restic import Repository
from tests.agent.backup import quick_restic
from tests.agent.backup.conftest import target


def snapshots(restic: Restic) -> list[dict]:
    """All snapshots of the repository."""
    return json.loads(restic.run("snapshots", "--json"))


def test_what_a_program_prints_becomes_a_snapshot(restic: Restic) -> None:
    """Its bytes come back as they were, under its name, host and tags."""
    saving = restic.save(["sh", "-c", "cat; seq 100000"], b"secret first\n", "/databases/a.dump", ["archive=1"], "acme")
    saved, status, _ = saving.finish()
    saving.close()
    assert saved is not None
    assert status == 0
    expected = b"secret first\n" + b"".join(b"%d\n" % i for i in range(1, 100001))
    assert saved.bytes == len(expected)
    with restic.dump(saved.snapshot, "/databases/a.dump") as program:
        found, _ = program.communicate()
    assert found == expected
    (only,) = snapshots(restic)
    assert (only["hostname"], only["tags"], only["paths"]) == ("acme", ["archive=1"], ["/databases-a.dump"])


@pytest.mark.parametrize("by", ["the host", "the operator"])
def test_what_wants_the_repository_for_itself_waits_for_who_is_there_for_a_moment(
    restic: Restic, tmp_path: Path, by: str
) -> None:
    """As a log that is shipped, which takes a lock every few seconds; restic alone gives up at once."""
    ended = threading.Event()
    saving = restic.save(
        ["sh", "-c", f"until [ -e {tmp_path}/go ]; do sleep 0.1; done; echo a segment"], b"", "/wal.tar", [], "acme"
    )
    ends = threading.Thread(target=lambda: (saving.finish(), ended.set()))
    ends.start()
    variables = environment_of(restic)
    while not list((Path(variables["RESTIC_REPOSITORY"]) / "locks").iterdir()):
        time.sleep(0.05)
    with pytest.raises(ResticError) as caught:
        restic.run("prune")
    assert caught.value.kind == "locked"
    threading.Timer(2, (tmp_path / "go").touch).start()
    if by == "the host":
        restic.alone("prune")
    else:
        Repository("disk", variables["RESTIC_REPOSITORY"], variables).prune()
    assert ended.wait(30)
    ends.join()
    saving.close()
    assert len(snapshots(restic)) == 1


def environment_of(restic: Restic) -> dict[str, str]:
    """What restic's process is given."""
    names = ("RESTIC_REPOSITORY", "RESTIC_PASSWORD_FILE")
    return {name: restic._env[name] for name in names}


def test_a_quick_repository_is_one_of_restics_own(tmp_path: Path) -> None:
    """What these tests stand on: but for the rounds of its key it says what `restic init` writes, file by file."""
    key = tmp_path / "key"
    key.write_text("password")
    made, quick = (Restic(target(tmp_path / name), str(key)) for name in ("made", "quick"))
    made.run("init")
    quick_restic.init(tmp_path / "quick", "password")
    for one in (made, quick):
        one.put(b"x", "a", [], "acme")
        one.run("check", "--read-data")
    places = [sorted(each.name for each in (tmp_path / name).iterdir()) for name in ("made", "quick")]
    assert places[0] == places[1]
    configurations = [json.loads(one.run("cat", "config")) for one in (made, quick)]
    assert configurations[0].keys() == configurations[1].keys()
    assert configurations[0]["version"] == configurations[1]["version"]
    keys = [json.loads(next((tmp_path / name / "keys").iterdir()).read_text()) for name in ("made", "quick")]
    assert keys[0].keys() == keys[1].keys()


def test_an_error_that_restic_says_in_json_is_told_in_words() -> None:
    """As 0.18 does with --json; what is not JSON, or something else, is told as it is."""
    said = b'{"message_type":"exit_error","code":1,"message":"Fatal: no"}\n{"error":{"message":"locked"}}\n'
    failed = Restic(target(Path("/nowhere")), "key").failed("backup", 1, said)
    assert str(failed) == "restic backup ended with 1 on disk: Fatal: no; locked"
    assert str(Restic(target(Path("/x")), "key").failed("init", 1, b"{no")).endswith(": {no")


def test_a_program_that_fails_at_its_end_leaves_no_snapshot(restic: Restic) -> None:
    """Its output was whole for all that restic could see; its status says that it is not."""
    saving = restic.save(["sh", "-c", "seq 1000; echo broken >&2; exit 3"], b"", "/databases/a.dump", [], "acme")
    saved, status, said = saving.finish()
    saving.close()
    assert (saved, status, said) == (None, 3, "broken")
    assert snapshots(restic) == []


def test_a_tolerated_status_leaves_a_snapshot(restic: Restic) -> None:
    """GNU tar ends with 1 where a file changed while it was read."""
    saving = restic.save(["sh", "-c", "echo x; exit 1"], b"", "/volumes/a.tar", [], "acme")
    saved, status, _ = saving.finish(tolerated=(1,))
    saving.close()
    assert saved is not None
    assert status == 1


def test_a_repository_that_is_gone_while_a_program_writes_is_told(restic: Restic, tmp_path: Path) -> None:
    """Restic's own failure is an error, whatever the program said."""
    (tmp_path / "repository" / "config").rename(tmp_path / "config")
    saving = restic.save(["sh", "-c", "seq 1000000"], b"", "/databases/a.dump", [], "acme")
    with pytest.raises(ResticError) as told:
        saving.finish()
    saving.close()
    assert told.value.kind == "absent"


def test_a_wrong_password_is_told_apart(restic: Restic, tmp_path: Path) -> None:
    """What to do next depends on it."""
    other = tmp_path / "other"
    other.write_text("another")
    with pytest.raises(ResticError) as told:
        Restic(target(tmp_path / "repository"), str(other)).run("snapshots")
    assert told.value.kind == "password"


def test_a_secret_of_the_environment_is_not_in_the_error(tmp_path: Path) -> None:
    """Restic repeats the address that it was given."""
    key = tmp_path / "key"
    key.write_text("k")
    wanted = target(tmp_path / "nothing-s3cr3t-here")
    wanted["environment"] = {"AWS_SECRET_ACCESS_KEY": "s3cr3t-here"}
    with pytest.raises(ResticError) as told:
        Restic(wanted, str(key)).run("snapshots")
    assert "s3cr3t-here" not in str(told.value)
    assert told.value.kind == "absent"
