"""A door through the system's OpenSSH client, so that the operator's own keys, agents and ssh configuration all work.

One connection is shared by all executions, and for a minute by the commands that come after: ssh's own multiplexing.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import weakref

from otobotctl.errors import HostUnreachableError, OtobotError
from otobotctl.transport import failures, program
from otobotctl.transport.channel import Line, ProcessChannel, piped
from otobotctl.transport.options import destination, forward, options, proxy_argv
from otobotctl.transport.sockets import control_path
from otobotctl.transport.target import Settings, Target

__all__ = ["Settings", "SshDoor", "Target", "interact", "open_door", "start"]

_CONTROL_S = 3.0  # for a master to answer its own socket


def open_door(target: Target, *, settings: Settings | None = None) -> SshDoor:
    """A door to `target`. Nothing is connected before the first execution, which raises what went wrong."""
    return SshDoor(target, settings or Settings.from_environment())


class SshDoor:
    """A Door. Executions may run side by side; each Channel belongs to one thread."""

    def __init__(self, target: Target, settings: Settings) -> None:
        self.name = target.name
        self._target = target
        self._settings = settings
        self._control = control_path(target, settings)
        self._channels: weakref.WeakSet[ProcessChannel] = weakref.WeakSet()

    def execute(self, argv: tuple[str, ...], *, silence_s: float = 15.0) -> ProcessChannel:
        """Start one remote execution. `silence_s`: no byte for so long means the line is dead."""
        command = (*self._ssh(), *destination(self._target), shlex.join(argv))
        line = Line(
            spawn=lambda: start(command, self._target),
            failure=self._failure,
            silent=lambda seconds: failures.silent(self._target, seconds),
            drop=self.drop,
            never_opened=failures.never_opened,
            opening_s=self._settings.connect_timeout_s,
        )
        channel = ProcessChannel(line, silence_s)
        self._channels.add(channel)
        return channel

    def close(self) -> None:
        """End what still runs, and the connection too unless it is to persist."""
        for channel in list(self._channels):
            channel.close()
        if not self._settings.persist_s:
            self.drop()

    def renew(self) -> None:
        """Make the next execution log in anew; what others run over the shared connection goes on. Never hangs."""
        self._control_to("stop" if self._settings.persist_s else "exit")

    def drop(self) -> None:
        """End the shared connection, so that the next execution makes a new one. Never hangs."""
        self._control_to("exit")

    def _control_to(self, order: str) -> None:
        if self._control is None or not self._control.exists():
            return
        argv = (*self._ssh(), "-O", order, *destination(self._target))
        # A master that does not answer in time loses its socket, and ends by itself once it has idled.
        with contextlib.suppress(subprocess.TimeoutExpired):
            subprocess.run(
                argv,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_CONTROL_S,
                check=False,
                env=environment(self._target),
            )
        self._control.unlink(missing_ok=True)

    def _ssh(self) -> tuple[str, ...]:
        return ("ssh", *options(self._target, self._settings, self._control))

    def _failure(self, status: int, said: str, opened: bool) -> OtobotError | None:
        if status == failures.LINE_FAILED:
            return failures.failure(self._target, said) if opened else explain(self._target, self._settings, said)
        if status < 0:
            return HostUnreachableError(
                f"{self._target}: ssh was ended by signal {-status}", hint="run the same command again"
            )
        return None


def interact(target: Target, settings: Settings) -> int:
    """Give this terminal to a shell on `target`, with the same pins, and return the status that it ended with.

    Raises HostUnreachableError or HostKeyError when it did not come about.
    """
    argv = ["ssh", *options(target, settings, control_path(target, settings)), *destination(target)]
    argv[argv.index("-T")] = "-t"
    try:
        status = subprocess.call(argv, env=environment(target))
    except FileNotFoundError:
        raise no_ssh() from None
    if status == failures.LINE_FAILED:
        raise HostUnreachableError(f"{target}: the connection ended", hint="ssh has said why, above")
    return status


def explain(target: Target, settings: Settings, said: str) -> OtobotError:
    """The error for a connection that did not come about; behind a jump host, whose of the two it was.

    ssh hides what a proxy command says when connections persist, so the way through the jump host is tried once more.
    """
    if target.jump is None:
        return failures.connecting(target, said)
    argv = proxy_argv(target.jump, settings, forward=forward(target))
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=settings.connect_timeout_s * 2,
            check=False,
            env=environment(target.jump),
        )
    except subprocess.TimeoutExpired:
        return failures.connecting(target, said)
    words = done.stderr.decode("utf-8", "replace")
    if done.returncode != failures.LINE_FAILED or failures.forward_refused(words):
        return failures.connecting(target, words or said)
    return explain(target.jump, settings, words)


def start(argv: tuple[str, ...], target: Target) -> subprocess.Popen[bytes]:
    """Start ssh; the operator's Ctrl-C does not reach it, so that the shared connection outlives an interrupt."""
    try:
        return piped(argv, environment(target))
    except FileNotFoundError:
        raise no_ssh() from None


def environment(target: Target) -> dict[str, str]:
    """What ssh is started with: the operator's environment, and a known shell where we wrote the proxy command."""
    variables = program.environment()
    return {**variables, "SHELL": "/bin/sh"} if target.jump is not None else variables


def no_ssh() -> OtobotError:
    """The error for a machine without an ssh client."""
    return HostUnreachableError("there is no ssh on this machine", hint="sudo apt install openssh-client")
