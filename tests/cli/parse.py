"""Whether what an operator is told to type can be typed."""

from __future__ import annotations

import re

import typer

from otobotctl.cli.app import build
from otobotctl.cli.main import hoist


def parse(text: str) -> int:
    """Parse each command in `text` as the command line does, without running it; return how many there were.

    A command ends where a comma or a semicolon says so. Raises what the parser raises for one that cannot be typed.
    """
    found = re.findall(r"otobotctl [^;,]*", text)
    for each in found:
        command = typer.main.get_command(build())
        words = [word for word in hoist(each.split()[1:]) if word != "--yes"]
        while hasattr(command, "commands"):
            command = command.commands[words.pop(0)]
        command.make_context("otobotctl", words)
    return len(found)
