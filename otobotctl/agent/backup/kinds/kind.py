"""What a restore does to one thing, whatever it is: beside what is there, then in its place, and back."""

from __future__ import annotations

import subprocess
from abc import ABC, abstractmethod
from typing import Dict, List, NamedTuple, Optional, Sequence, Type, TypeVar

from otobotctl.agent.backup.choosing import Chosen
from otobotctl.agent.backup.course import Course, Item
from otobotctl.agent.backup.erasures import Known
from otobotctl.agent.backup.hands import Hands, RestoreError
from otobotctl.agent.backup.pitr.cluster import Point
from otobotctl.agent.backup.shapes import Job, Part

_Kind = TypeVar("_Kind", bound="Kind")
_Alone = TypeVar("_Alone", bound="Alone")


class Around(NamedTuple):
    """What the kinds work with. `chosen` and `point` are None where what a killed restore left is put right."""

    job: Job
    hands: Hands
    course: Course
    chosen: Optional[Chosen] = None
    point: Optional[Point] = None


class Kind(ABC):
    """One item of a restore. Every method raises RestoreError, ProbeError, OSError."""

    # What its part of an archive may be called, with "{}" for the item's name; none: it is in no archive.
    PARTS: Sequence[str] = ()
    GROWS = 1.0  # the bytes that it takes on disk for each byte of its part
    SERVED = False  # an engine that runs meanwhile has it; else it is the files of a volume

    def __init__(self, around: Around, item: Item) -> None:
        self.around = around
        self.item = item

    @classmethod
    def part_in(cls, chosen: Chosen, name: str) -> Optional[Part]:
        """The part of an archive that the item of this name is restored from."""
        found = (chosen.part(each.format(name)) for each in cls.PARTS)
        return next((part for part in found if part is not None), None)

    @property
    def chosen(self) -> Chosen:
        """The archive that it comes from."""
        if self.around.chosen is None:
            raise RestoreError("there is no archive to restore {} from".format(self.item.name))
        return self.around.chosen

    @property
    def part(self) -> Part:
        """What of the archive it is restored from."""
        part = self.part_in(self.chosen, self.item.name)
        if part is None:
            raise RestoreError("{} is not in this archive".format(self.item.name))
        return part

    def stream(self) -> "subprocess.Popen[bytes]":
        """A program that prints its part."""
        return self.chosen.stream(self.part)

    def room(self) -> int:
        """The bytes that it needs beside what is there."""
        return int(self.part["bytes"] * self.GROWS)

    @classmethod  # noqa: B027  # most need nothing
    def prepare(cls: Type[_Kind], mine: Sequence[_Kind]) -> None:
        """What all of this kind need before the first of them is filled."""

    @abstractmethod
    def fill(self) -> Optional[Dict[str, int]]:
        """Restore it beside what is there; return the rows of each table, None where that is no word for it."""

    def erase(self, known: Known) -> int:
        """Tell a vault that was restored beside whom it has to erase again; return how many people that are."""
        del known
        return 0

    def vaults(self) -> List[str]:
        """The databases that came back with it and may be a vault's."""
        return []

    @classmethod
    @abstractmethod
    def exchange_all(cls: Type[_Kind], mine: Sequence[_Kind]) -> None:
        """What was restored in its place, what was there kept."""

    @classmethod
    @abstractmethod
    def back_all(cls: Type[_Kind], mine: Sequence[_Kind]) -> None:
        """What was there in its place again, however far the exchange came."""

    @abstractmethod
    def drop(self, *, former: bool) -> None:
        """Let go of what is beside, and of what was there before the restore; nothing there is fine."""

    def finish(self) -> None:
        """The restored one is proved: let go of everything else."""
        self.drop(former=True)


class Alone(Kind):
    """A kind whose items are independent: each is exchanged, and comes back, without the others."""

    @classmethod
    def exchange_all(cls: Type[_Alone], mine: Sequence[_Alone]) -> None:
        """One after the other."""
        for each in mine:
            each.exchange()

    @classmethod
    def back_all(cls: Type[_Alone], mine: Sequence[_Alone]) -> None:
        """One after the other."""
        for each in mine:
            each.back()

    @abstractmethod
    def exchange(self) -> None:
        """What was restored in its place, what was there kept."""

    @abstractmethod
    def back(self) -> None:
        """What was there in its place again, however far the exchange came."""
