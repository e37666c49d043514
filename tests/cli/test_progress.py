"""What is told while a host converges."""

import pytest

from otobotctl.cli.human.progress import told

WARNING = "warning: acme.example: there is no certificate yet: refused"


@pytest.mark.parametrize(("verbose", "text", "line"), [
    (False, WARNING, WARNING),
    (False, "Container otobot-front-nginx-1  Started", ""),
    (True, "Container otobot-front-nginx-1  Started", "    Container otobot-front-nginx-1  Started"),
])  # fmt: skip
def test_of_what_a_step_says_a_warning_is_always_told(verbose, text, line):
    """A step can end well and leave something to be looked at; the rest is for --verbose."""
    assert told({"event": "output", "step": "certificates/first", "text": text}, verbose=verbose) == line


@pytest.mark.parametrize(
    ("record", "line"),
    [
        ({"event": "hook", "where": "host", "program": "warm"}, "hook on the host: warm"),
        ({"event": "trial", "client": "acme"}, "trying the vault of acme"),
        ({"event": "lost", "message": "no route"}, "lost no route"),
        ({"event": "observed"}, ""),
    ],
)
def test_what_takes_a_while_is_told(record, line):
    """A hook, the vault's trial, a line that was lost; a look is not."""
    assert told(record, verbose=False) == line
