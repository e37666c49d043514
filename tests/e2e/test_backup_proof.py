"""The proof of a restore can fail: each loss that it is there to see is seen."""

from __future__ import annotations

import hashlib

from tests.e2e import backup_proof

SEALED = "1:aa:bb:cc"


def row(number: int, at: float, writer: str = "w") -> dict:
    """What was recorded of a connection."""
    digest = hashlib.sha256(SEALED.encode()).hexdigest()
    user = {"user": f"u{number}", "email": f"{number}@acme.example", "service": "openai"}
    return {"at": at, "writer": writer, "connection": f"c{number}", "sealed": digest, **user}


def back(*numbers: int, sealed: str = SEALED) -> dict[str, list[str]]:
    """What is in the restored database."""
    return {f"c{number}": [f"u{number}", f"{number}@acme.example", "openai", sealed] for number in numbers}


def wrong(record: list[dict], found: dict[str, list[str]], erased: set[str] = frozenset()) -> list[str]:  # type: ignore[assignment]
    """What the proof says is wrong with an archive of second 10."""
    return backup_proof.compare(record, found, 10, erased)[0]


RECORD = [row(1, 5), row(2, 9.9), row(3, 10.1)]


def test_everything_from_before_is_enough():
    """With what was committed while it was made, and without."""
    assert wrong(RECORD, back(1, 2)) == []
    assert wrong(RECORD, back(1, 2, 3)) == []


def test_a_lost_row_is_seen():
    """One that was committed before the archive began."""
    assert [each.split(",")[0] for each in wrong(RECORD, back(1))] == ["c2 is lost"]


def test_an_altered_row_is_seen():
    """By the digest of what was stored."""
    assert wrong(RECORD, back(1) | back(2, sealed="1:aa:bb:cd")) == ["c2 is another one"]


def test_rows_of_two_moments_are_seen():
    """A later row of the same writer without an earlier one."""
    assert wrong([row(1, 11), row(2, 12)], back(2)) == ["c2 is back, and c1 before it is not"]
    assert wrong([row(1, 11), row(2, 12, "other")], back(2)) == []


def test_somebody_erased_who_is_back_is_seen():
    """And his absence is no loss."""
    assert wrong(RECORD, back(1, 2), {"u1"}) == ["c1 is back, of somebody who was erased"]
    assert wrong(RECORD, back(2), {"u1"}) == []
