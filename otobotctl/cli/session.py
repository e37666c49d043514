"""What the global options say, and how a command answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import typer

from otobotctl.cli import output
from otobotctl.errors import InterruptedRunError, OtobotError, UsageError

if TYPE_CHECKING:
    from otobotctl.fleet import Fleet

_CLEAR = "\x1b[H\x1b[2J"


@dataclass(frozen=True)
class Session:
    """One call of the command line."""

    fleet_option: Path | None
    as_json: bool
    yes: bool
    verbose: bool

    def fleet(self) -> Fleet:
        """The fleet this call is about. Raises UsageError where there is none."""
        from otobotctl import fleet

        return fleet.find(self.fleet_option)

    def show(self, command: str, data: Any, human: Callable[[], str], error: OtobotError | None = None) -> None:
        """Print the answer, for a machine or for a person.

        `error` is what is wrong although there is an answer: one envelope holds both, and the command ends with its
        exit code.
        """
        self.tell(command, data, human, error)
        if error is not None:
            raise typer.Exit(error.exit_code)

    def tell(self, command: str, data: Any, human: Callable[[], str], error: OtobotError | None = None) -> None:
        """Print the answer as `show` does, and go on, whatever is wrong."""
        self.warn(data)
        if self.as_json:
            import msgspec

            output.answer(output.envelope(command, msgspec.to_builtins(data), error.told() if error else None))
        elif text := human():
            output.answer(text)
        if error is not None:
            output.explain(error)

    def watch(
        self,
        command: str,
        look: Callable[[], tuple[Any, OtobotError | None]],
        human: Callable[[Any], str],
        every_s: float,
    ) -> NoReturn:
        """Answer again and again: a screen, or a line of JSON each time.

        Ctrl-C is how it ends, and the last answer's exit code is the command's.
        """
        code = 0
        try:
            while True:
                found, error = look()
                if sys.stdout.isatty() and not self.as_json:
                    sys.stdout.write(_CLEAR)
                code = error.exit_code if error else 0
                self.tell(command, found, lambda shown=found: human(shown), error)  # type: ignore[misc]
                time.sleep(every_s)
        except (KeyboardInterrupt, InterruptedRunError):
            raise typer.Exit(code) from None

    def confirm(self, question: str) -> None:
        """Ask before something that cannot be taken back; `--yes` answers.

        Raises UsageError for a no, or where nobody can answer.
        """
        self._ask(f"{question} [y/N] ", question, {"y", "yes"})

    def confirm_by_name(self, question: str, name: str) -> None:
        """Ask for a name to be typed before something that ends what it names; else as `confirm`."""
        self._ask(f"{question} Type {name} to go on: ", question, {name})

    def _ask(self, prompt: str, question: str, accepted: set[str]) -> None:
        if self.yes:
            return
        if not sys.stdin.isatty():
            raise UsageError(f"{question} Nobody is there to answer.", hint="add --yes if you mean it")
        sys.stderr.write(prompt)
        sys.stderr.flush()
        if sys.stdin.readline().strip().lower() not in accepted:
            raise UsageError("not confirmed; nothing was changed")

    def warn(self, data: Any) -> None:
        """Tell a person the warnings of an answer; a machine finds them in it."""
        for each in data if isinstance(data, tuple) else (data,):
            for warning in getattr(each, "warnings", ()):
                self.say(f"warning: {warning}")

    def say(self, text: str) -> None:
        """A line of the story, for people only."""
        if not self.as_json:
            output.story(text)


def of(context: typer.Context) -> Session:
    """The session of a running command."""
    session = context.find_object(Session)
    if session is None:  # only when a command function is called without the app
        raise UsageError("no session")
    return session
