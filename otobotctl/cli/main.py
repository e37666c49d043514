"""From argv to an exit code. No traceback ever reaches an operator."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import NoReturn

from otobotctl.errors import InterruptedRunError, OtobotError

_FLAGS = {"--json", "--yes", "-y", "--verbose"}


def entry() -> NoReturn:
    """The console script."""
    leave(main(sys.argv[1:]))


def leave(code: int) -> NoReturn:
    """End this process. Threads that Ctrl-C left at work on hosts end with it, wherever they are.

    Python's own way out would wake them up first, and one that it wakes inside age's Rust aborts the process.
    """
    if threading.active_count() == 1:
        sys.exit(code)
    with contextlib.suppress(OSError, ValueError):
        sys.stdout.flush()
        sys.stderr.flush()
    atexit._run_exitfuncs()  # noqa: SLF001  # what is to be removed at the end: a key on disk, folders of theirs
    os._exit(code)


def main(argv: Sequence[str]) -> int:
    """Run one command, note it in the fleet's audit, and return its exit code."""
    from otobotctl.cli.audited import note

    arguments = hoist(argv)
    code = _guarded(arguments)
    note(arguments, code)
    return code


def _guarded(arguments: list[str]) -> int:
    from otobotctl.cli import output

    as_json = "--json" in arguments
    previous = signal.signal(signal.SIGINT, _interrupt)
    try:
        return _run(arguments)
    except OtobotError as error:
        output.failure(error, as_json=as_json)
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:  # noqa: BLE001 - the last net: a defect is told in one line
        output.unexpected(error, as_json=as_json, verbose="--verbose" in arguments)
        return 1
    finally:
        signal.signal(signal.SIGINT, previous)


def hoist(argv: Sequence[str]) -> list[str]:
    """Global options may stand anywhere before a `--`: move them to the front, where the parser wants them."""
    front: list[str] = []
    rest: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            rest += [word, *words]
            break
        if word in _FLAGS or word.startswith("--fleet="):
            front.append(word)
        elif word == "--fleet" and words:
            front += [word, words.pop(0)]
        else:
            rest.append(word)
    return front + rest


def _run(arguments: list[str]) -> int:
    from otobotctl.cli.app import command

    try:
        command()(args=arguments, prog_name="otobotctl")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(bool(end.code))
    return 0


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise InterruptedRunError(
        "interrupted",
        hint="run the same command again: a host finishes what it had begun, and the rest is taken up from there",
    )
