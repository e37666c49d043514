"""What README and docs tell an operator to type exists, with those options."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest

from otobotctl.cli.app import command as built
from otobotctl.cli.main import hoist

TOP = Path(__file__).resolve().parents[2]
PAGES = [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]
_FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
_TYPED = re.compile(r"(?:^|[|&;])\s*otobotctl (.*?)(?= &&| \||>|;|$)")
_SPAN = re.compile(r"`([^`]+)`")
_GLOBAL = {"--fleet", "--json", "--yes", "-y", "--verbose", "--help", "--version", "--install-completion"}


def commands(text: str) -> list[str]:
    """Each command of a page: lines of its blocks that run otobotctl, and words within a sentence that begin as one."""
    root = built().commands
    blocks = [line.split(" #")[0] for block in _FENCE.findall(text) for line in block.splitlines()]
    told = [each for line in blocks for each in _TYPED.findall(line)]
    for span in _SPAN.findall(_FENCE.sub("", text)):
        words = " ".join(span.split())
        if words.startswith("otobotctl ") or (" " in words and words.split(" ")[0] in root and ":" not in words):
            told.append(words.removeprefix("otobotctl "))
    return told


def wrong(text: str) -> str:
    """What of a command does not exist; "" where all of it does."""
    words = shlex.split(re.sub(r"[\[\]]", " ", text))
    words = hoist(words[: words.index("--")] if "--" in words else words)
    words = [word for word in words if word.split("=")[0] not in _GLOBAL]
    command = built()
    while hasattr(command, "commands") and words and words[0] != "...":
        told = words.pop(0).split("|")  # in a table: one of several
        missing = [each for each in told if each not in command.commands]
        if missing or len(told) > 1:
            return f"{', '.join(missing)} is no command" if missing else ""
        command = command.commands[told[0]]
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)} | _GLOBAL
    unknown = [word for word in words if word.startswith("--") and word.split("=")[0] not in known]
    return f"there is no {', '.join(unknown)}" if unknown else ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_documented_command_exists_with_its_options(page):
    """A renamed option or command is noticed in the page that tells it."""
    found = {text: wrong(text) for text in commands(page.read_text())}
    assert {text: why for text, why in found.items() if why} == {}


def test_the_pages_tell_commands_at_all():
    """The search above finds what it looks for, and what is wrong there."""
    assert sum(len(commands(page.read_text())) for page in PAGES) > 100
    assert commands("`deploy acme --now`\n```\nx | otobotctl secrets put acme A   # so\n```") == [
        "secrets put acme A  ",
        "deploy acme --now",
    ]
    assert wrong("secrets put acme A") == "put is no command"
    assert wrong("deploy acme --now") == "there is no --now"
