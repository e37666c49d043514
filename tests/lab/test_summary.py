"""What the summary says of a test that was tried again, without a lab."""

from __future__ import annotations

import pytest

from tests.lab.fixtures import said


def _shown(message: str) -> str:
    """The failure as pytest shows it: frames, and the error's own lines behind an E."""
    with pytest.raises(AssertionError) as caught:
        raise AssertionError(message)
    return str(caught.getrepr(style="long"))


def test_a_short_error_is_told_whole():
    """Every line of its own and none of the frames."""
    told = said(_shown("a deploy ended with 5\n\nvault-api: unhealthy"))
    assert told.split("\n    ") == ["AssertionError: a deploy ended with 5", "vault-api: unhealthy"]


def test_of_a_long_error_the_last_words_are_told():
    """A command's progress goes, what its containers said last stays, and so does which command it was."""
    progress = "\n".join(f"step {number}: done" for number in range(1000))
    told = said(_shown(f"a deploy ended with 5\n{progress}\npostgres | FATAL: no space\nhint: make room"))
    assert told.startswith("AssertionError: a deploy ended with 5\n")
    assert told.endswith("postgres | FATAL: no space\n    hint: make room")
    assert "[...]" in told
    assert len(told) < 2000
