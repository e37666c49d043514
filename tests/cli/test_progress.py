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
