"""`python -m otobotctl`."""

from otobotctl.cli.main import entry

entry()
