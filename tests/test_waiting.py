"""Who waits in vain is told for what."""

from __future__ import annotations

import pytest

from tests.waiting import until


def test_the_first_true_answer_is_returned():
    """What is empty and what fails in an expected way is asked again."""
    answers = iter(["", OSError("refused"), "up"])

    def ask():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    assert until(ask, "the server", pause_s=0, but=(OSError,)) == "up"


def test_who_waits_in_vain_is_told_for_what_and_what_came_last():
    """By its words, by those of a function at the end, and else by the condition as it is written."""
    with pytest.raises(AssertionError, match=r"^not within 0 s: the server; last: ConnectionError\('refused'\)$"):
        until(refused, "the server", limit_s=0, but=(OSError,))
    with pytest.raises(AssertionError, match=r"^not within 0 s: its log; last: 0$"):
        until(lambda: 0, lambda: "its log", limit_s=0)
    with pytest.raises(
        AssertionError, match=r"^not within 0 s: until\(lambda: \[\] == \[1\], limit_s=0\); last: False$"
    ):
        until(lambda: [] == [1], limit_s=0)
    with pytest.raises(AssertionError, match=r"^not within 0 s: <built-in method isdigit of str .*; last: False$"):
        until("x".isdigit, limit_s=0)


def test_what_is_not_expected_ends_the_wait_at_once():
    """A condition may give up by itself, such as where its process has ended."""
    with pytest.raises(ConnectionError, match="refused"):
        until(refused)


def refused():
    raise ConnectionError("refused")
