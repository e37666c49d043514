"""A program run once, for what no other kind can say."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import AbsolutePath, Account
from otobotctl.plan.model import Change, Facts, Spec

Argv = Annotated[tuple[str, ...], Meta(min_length=1)]


class CommandSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """`argv` runs (no shell) until the path `creates` is there or the program `unless` ends with 0.

    Nothing in it may be secret: `plan --explain` prints it whole.
    """

    kind: ClassVar[str] = "command"

    argv: Argv
    unless: Argv | None = None
    creates: AbsolutePath | None = None
    cwd: AbsolutePath | None = None
    env: Mapping[str, str] = {}
    user: Account | None = None

    def __post_init__(self) -> None:
        if (self.unless is None) == (self.creates is None):
            raise ValueError("give `unless` or `creates` (one of them): a command without would run at every apply")

    def question(self) -> dict[str, Any]:
        """What tells that it has been done, and how to run that."""
        if self.creates is not None:
            return {"creates": self.creates}
        asked = {"unless": list(self.unless or ()), "cwd": self.cwd, "env": dict(self.env), "user": self.user}
        return {name: value for name, value in asked.items() if value}

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By whether it has been done."""
        return () if facts["done"] else (Change("run", after=self.title()),)

    def title(self) -> str:
        """The program and its arguments."""
        return shlex.join(self.argv)

    def commands(self) -> tuple[str, ...]:
        """The condition and the program, in one line of shell."""
        test = f"test -e {shlex.quote(self.creates)}" if self.creates is not None else self._shell(self.unless or ())
        where = f"cd {shlex.quote(self.cwd)} && " if self.cwd is not None else ""
        return (f"{where}{test} || {self._shell(self.argv)}",)

    def _shell(self, argv: tuple[str, ...]) -> str:
        user = ("runuser", "-u", self.user, "--") if self.user is not None else ()
        env = tuple(f"{name}={value}" for name, value in self.env.items())
        return shlex.join((*user, *(("env", *env) if env else ()), *argv))


SPEC = CommandSpec
