"""Stages for the tests, and what their listener hears."""

from __future__ import annotations

import grp
import os
import pwd
from typing import TYPE_CHECKING, Any

from otobotctl.plan.kinds import spec_class
from otobotctl.plan.model import Stage, Step

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Heard:
    """Keeps every event; `on` may act on one as it comes."""

    def __init__(self) -> None:
        self.records: list[Mapping[str, Any]] = []
        self.on: Callable[[Mapping[str, Any]], None] = lambda _: None

    def event(self, record: Mapping[str, Any]) -> None:
        self.records.append(record)
        self.on(record)

    def named(self, event: str) -> list[Mapping[str, Any]]:
        return [record for record in self.records if record["event"] == event]


def file_step(name: str, path: Path, content: str) -> Step:
    user, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    return Step(name, spec_class("file")(path=str(path), content=content, mode="0644", owner=user, group=group))


def command_step(name: str, script: str, creates: Path) -> Step:
    return Step(name, spec_class("command")(argv=("sh", "-c", script), creates=str(creates)))


def stage(name: str, *steps: Step) -> Stage:
    return Stage(name, steps)
