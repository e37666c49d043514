"""A login that begins before anyone knows what to ask: it is the first execution, or it ends without a trace."""

from __future__ import annotations

import pytest

from otobotctl.converge import early, engine


def test_the_early_login_is_the_first_execution(host):
    """Nothing is logged in to twice, and later executions have their own."""
    with early.reaching(host.open, with_password=False) as opener:
        assert len(host.executions) == 1
        engine.ask(opener, [])
        assert len(host.executions) == 1
        engine.ask(opener, [])
        assert len(host.executions) == 2


def test_an_early_login_that_nobody_needed_ends(host):
    """An error while the question is worked out leaves no execution behind, and nothing on the host."""
    with pytest.raises(RuntimeError, match="while rendering"), early.reaching(host.open, with_password=False):
        raise RuntimeError("while rendering")
    assert len(host.executions) == 1
    assert not host.state.exists()
