"""A client's backups on a host: what differs is told, and no secret with it."""

from __future__ import annotations

import hashlib
import json

import msgspec
import pytest

from otobotctl.plan.kinds.backup import WORDS, BackupSpec
from otobotctl.plan.model import Change

SECRET = "kept-from-every-eye-41c7"


def spec(*, words: tuple[str, ...] = WORDS, at: str = "*-*-* 02:00:00 UTC", key: str = SECRET) -> BackupSpec:
    """Backups of acme with a job and a key, both secret."""
    files = {"job.json": json.dumps({"password": SECRET}), "key": key}
    given = {
        "client": "acme",
        "targets": ["nas"],
        "files": [{"path": name, "mode": "0600", "secret": True, "content": text} for name, text in files.items()],
        "timers": [{"word": word, "at": at} for word in words],
    }
    return msgspec.convert(given, BackupSpec)


def facts(of: BackupSpec, **others: object) -> dict[str, object]:
    """A host that has just this, and an archive of the release that runs."""
    digests = {each.path: hashlib.sha256(each.data()).hexdigest() for each in of.files}
    timers = [path.rsplit("/", 1)[1] for path in of.units() if path.endswith(".timer")]
    matching = {
        "files": {name: {"sha256": digest, "attributes": "0600 root:root"} for name, digest in digests.items()},
        "units": of.units(),
        "_timers": dict.fromkeys(timers, "enabled active"),
        "_stale": False,
        "_release": 3,
        "_started": 3,
        "_archived": [3],
    }
    return {**matching, **others}


def changed(of: BackupSpec, found: dict[str, object]) -> list[str]:
    """What differs, by name."""
    return [change.what for change in of.compare(found)]


def test_a_host_that_has_just_this_is_left_alone() -> None:
    """No step: an unchanged host costs one execution."""
    assert spec().compare(facts(spec())) == ()


def test_another_key_is_told_and_not_shown() -> None:
    """Neither a plan nor the spec itself, printed, has a value in it."""
    found = spec(key="another-kept-from-every-eye").compare(facts(spec()))
    assert found == (Change("key", diff="contents differ (secret)"),)
    shown = (
        f"{spec()!r} {spec().title()} {spec().commands()} {spec().question()} {spec().compare(facts(spec(), files={}))}"
    )
    assert SECRET not in shown


@pytest.mark.parametrize(
    ("name", "held", "what"),
    [
        ("key", {"attributes": "0644 root:root"}, "key"),
        ("job.json", {"attributes": "0600 mallory:root"}, "job.json"),
        ("known_hosts", {"attributes": "0600 root:root"}, "known_hosts"),
    ],
)
def test_what_others_may_read_and_what_is_left_over_is_put_right(name: str, held: dict[str, str], what: str) -> None:
    """By mode, owner, and presence: host keys of a storage that is gone do not stay."""
    before = facts(spec())
    files = {**before["files"], name: {**before["files"].get(name, {"sha256": ""}), **held}}  # type: ignore[dict-item,attr-defined]
    assert changed(spec(), {**before, "files": files}) == [what]


def test_secrets_that_were_sealed_again_are_no_change_unless_one_of_them_is() -> None:
    """Each write of the store gives other bytes; what counts is whether a value or a recipient is another."""

    def sealed(data: str, total: str) -> BackupSpec:
        files = [{"path": name, "content": text} for name, text in (("secrets.age", data), ("secrets.sum", total))]
        return msgspec.convert({"client": "acme", "files": files}, BackupSpec)

    there = facts(sealed("one", "same"))
    assert changed(sealed("another", "same"), there) == []
    assert changed(sealed("another", "moved"), there) == ["secrets.age", "secrets.sum"]
    loose = {**there["files"], "secrets.age": {"sha256": "x", "attributes": "0644 root:root"}}  # type: ignore[dict-item]
    assert changed(sealed("another", "same"), {**there, "files": loose}) == ["secrets.age"]


def test_a_timer_that_is_off_or_gone_or_late_is_a_change() -> None:
    """By systemd's word, by its text, and by what systemd has not read again."""
    timers = {"otobot-backup-acme.timer": "disabled inactive"}
    before = facts(spec())
    assert changed(spec(), {**before, "_timers": {**before["_timers"], **timers}}) == ["otobot-backup-acme.timer"]  # type: ignore[dict-item]
    moved = changed(spec(at="*-*-* 03:00:00 UTC"), facts(spec()))
    assert moved == [
        f"/etc/systemd/system/otobot-backup-acme{end}.timer"
        for end in ("-base", "-drill", "-erasures", "-verify", "-wal", "")
    ]
    assert changed(spec(), facts(spec(), _stale=True)) == ["units"]
    by_hand = spec(words=("verify", "drill", "erasures", "wal", "base"))
    assert changed(by_hand, facts(spec())) == ["/etc/systemd/system/otobot-backup-acme.timer"]
    without = changed(spec(words=("run", "verify", "drill", "erasures")), facts(spec()))
    assert without == [
        f"/etc/systemd/system/otobot-backup-acme-{word}.{end}"
        for word in ("base", "wal")
        for end in ("service", "timer")
    ]


@pytest.mark.parametrize(
    ("others", "wanted"),
    [
        ({"_release": 4}, ["archive"]),
        ({"_release": 4, "_archived": [3, 4]}, []),
        ({"_release": 4, "_started": 4}, []),
        ({"_release": 4, "_archived": [None]}, ["archive"]),
        ({"_release": 4, "_archived": []}, []),
        ({"_release": None}, []),
        ({"_started": None}, []),
    ],
)
def test_a_release_that_came_up_is_archived_once_there_was_an_archive(
    others: dict[str, object], wanted: list[str]
) -> None:
    """Once: what a run was started for, or has archived by itself, is not started again."""
    assert changed(spec(), facts(spec(), **others)) == wanted


def test_nothing_is_archived_by_itself_where_the_schedule_says_never() -> None:
    """A release that came up is no exception."""
    by_hand = spec(words=("verify", "drill", "erasures"))
    assert changed(by_hand, facts(by_hand, _release=4)) == []
