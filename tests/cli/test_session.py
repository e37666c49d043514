"""Nothing that cannot be taken back happens without a word of the operator."""

from __future__ import annotations

import io

import pytest

from otobotctl.cli import session
from otobotctl.errors import UsageError


class Terminal(io.StringIO):
    """A stdin that somebody sits at."""

    def isatty(self):
        return True


def asked(monkeypatch, typed, *, yes=False, terminal=True):
    monkeypatch.setattr("sys.stdin", Terminal(typed) if terminal else io.StringIO(typed))
    return session.Session(fleet_option=None, as_json=False, yes=yes, verbose=False)


@pytest.mark.parametrize("typed", ["y\n", "YES\n"])
def test_a_yes_goes_on(monkeypatch, typed):
    """Either word will do."""
    asked(monkeypatch, typed).confirm("Really?")


@pytest.mark.parametrize("typed", ["\n", "n\n", "", "yess\n"])
def test_anything_else_is_a_no(monkeypatch, typed):
    """Enter alone is a no."""
    with pytest.raises(UsageError, match="nothing was changed"):
        asked(monkeypatch, typed).confirm("Really?")


def test_nobody_there_is_a_no(monkeypatch):
    """Without a terminal the question is not read from a pipe; --yes is the way."""
    with pytest.raises(UsageError, match="Nobody is there") as refused:
        asked(monkeypatch, "y\n", terminal=False).confirm("Really?")
    assert "--yes" in refused.value.hint
    asked(monkeypatch, "", yes=True, terminal=False).confirm("Really?")


def test_what_ends_a_client_wants_its_name(monkeypatch, capsys):
    """A yes by habit is not enough to destroy."""
    asked(monkeypatch, "acme\n").confirm_by_name("Destroy?", "acme")
    assert "Type acme to go on" in capsys.readouterr().err
    with pytest.raises(UsageError, match="nothing was changed"):
        asked(monkeypatch, "yes\n").confirm_by_name("Destroy?", "acme")
