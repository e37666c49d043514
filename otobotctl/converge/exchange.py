"""One remote execution: a request goes in, records come out; agent and sudo password are sent when asked for."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, Any, Self

from otobotctl.agent.protocol import STATE_DIR, encode
from otobotctl.converge import pack
from otobotctl.errors import HostUnreachableError, LockedError, OtobotError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from otobotctl.converge.model import Password
    from otobotctl.transport.base import Channel, Door, Finished, Opener

_NOISE_LINES = 20


class RefusedError(OtobotError):
    """The agent ended the exchange with an error; `code` is the protocol's."""

    def __init__(self, host: str, error: Mapping[str, Any]) -> None:
        super().__init__(f"{host}: {error['message']}")
        self.code: str = error["code"]
        self.holder: Mapping[str, Any] | None = error.get("holder")


class Session:
    """Executions on one host, over one door that is opened when first needed and again after it was dropped."""

    def __init__(self, opener: Opener, password: Password | None = None, own: Path | None = None) -> None:
        """`own` is where an agent that runs as this very user, on this machine, keeps what it keeps; None: as root."""
        self.executions = 0
        self._own = own
        self._lacks_agent = False
        self._opener = opener
        self._password = password
        self._door: Door | None = None
        self._channel: Channel | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    @property
    def door(self) -> Door:
        """The open door."""
        if self._door is None:
            self._door = self._opener()
        return self._door

    def drop(self) -> None:
        """Give the door back."""
        door, self._door = self._door, None
        if door is not None:
            door.close()

    def renew(self) -> None:
        """Let the next execution come in by a login of its own."""
        if self._door is not None:
            self._door.renew()

    def say(self, record: Mapping[str, Any]) -> None:
        """Tell the agent of the exchange under way something more."""
        if self._channel is not None:
            with contextlib.suppress(BrokenPipeError):
                self._channel.send(encode(dict(record)))

    def exchange(self, request: Mapping[str, Any]) -> Generator[dict[str, Any]]:
        """Run one execution and yield its records up to and with the ending one.

        Raises:
            RefusedError: the agent says no.
            HostUnreachableError: no line, the line was lost, or no way to become root.
        """
        door = self.door
        self.executions += 1
        own = self._own
        channel = door.execute(pack.own_command(own) if own else pack.command(with_password=self._password is not None))
        data = encode(dict(request))
        if self._lacks_agent:
            data += pack.archive()  # a round trip earlier than asked for; a host that has it by now reads no further
        exchange = _Exchange(door.name, channel, data, self._password, pushed=self._lacks_agent)
        self._channel = channel
        try:
            yield from exchange.records()
        finally:
            self._channel = None
            self._lacks_agent = exchange.lacks_agent
            channel.close()


class _Exchange:
    def __init__(self, host: str, channel: Channel, request: bytes, password: Password | None, *, pushed: bool) -> None:
        self.host = host
        self.channel = channel
        self.request = request
        self.password = password
        self.pushed = pushed
        self.lacks_agent = False
        self.asked = False
        self.noise: list[str] = []

    def records(self) -> Iterator[dict[str, Any]]:
        if self.password is None:
            self._send(self.request)
        for line in self.channel.lines():
            record = self._record(line)
            if record is None:
                continue
            if "ready" in record or "need" in record:
                self._begin(record)
            elif "error" in record and "answer" not in record and "event" not in record:
                raise RefusedError(self.host, record["error"])
            else:
                yield self._with_block(record) if "block" in record else record
                if "end" in record:
                    return
        raise self._broken_off(self.channel.finish())

    def _record(self, line: bytes) -> dict[str, Any] | None:
        """Return a record worth having; banners, prompts and beats are not."""
        if line.rstrip() == pack.PROMPT:
            self._answer_prompt()
            return None
        try:
            record = json.loads(line) if line.startswith(b"{") else None
        except ValueError:
            record = None
        if not isinstance(record, dict):
            self.noise = [*self.noise, line.decode("utf-8", "replace")][-_NOISE_LINES:]
            return None
        return None if "beat" in record else record

    def _with_block(self, record: dict[str, Any]) -> dict[str, Any]:
        data = self.channel.read(record["block"])
        if len(data) < record["block"]:
            raise self._broken_off(self.channel.finish())
        return {**record, "data": data}

    def _answer_prompt(self) -> None:
        if self.asked or self.password is None:
            # Hanging up here ends sudo: it counts one try, and never reads our request as a second one.
            raise HostUnreachableError(
                f"{self.host}: sudo does not accept the password", hint="check it with: sudo -v, logged in on the host"
            )
        self.asked = True
        self._send(self.password().encode() + b"\n")

    def _begin(self, record: Mapping[str, Any]) -> None:
        if self.password is not None:
            self._send(self.request)
        if "need" in record and not self.pushed:
            self.lacks_agent = True
            self._send(pack.archive())

    def _send(self, data: bytes) -> None:
        # A command that ended early says why by its exit status.
        with contextlib.suppress(BrokenPipeError):
            self.channel.send(data)

    def _broken_off(self, finished: Finished) -> OtobotError:
        said = tuple(line for line in [*self.noise, *finished.stderr.splitlines()] if line.strip())[-_NOISE_LINES:]
        if finished.status == pack.NO_SUDO:
            return HostUnreachableError(
                f"{self.host}: this user may not become root by sudo without a password",
                hint="give the password with --ask-sudo, or allow it in /etc/sudoers.d",
                details=said,
            )
        if finished.status == pack.NO_PYTHON:
            return HostUnreachableError(
                f"{self.host}: python3 is missing and could not be installed",
                hint="on the host, as root: apt-get update && apt-get install python3",
                details=said,
            )
        if finished.status == pack.OLD_PYTHON:
            return HostUnreachableError(
                f"{self.host}: its python3 is older than 3.8",
                hint="upgrade the host to Debian 11, Ubuntu 20.04 or later",
            )
        return HostUnreachableError(
            f"{self.host}: the agent ended without an answer (exit status {finished.status})",
            hint=f"run the same command again; if it repeats, on the host, as root: rm -r {STATE_DIR}/agent",
            details=said,
        )


def locked(host: str, holder: Mapping[str, Any] | None) -> LockedError:
    """The error that names who holds a host."""
    found = holder or {"who": "another run", "run": "", "at": time.time()}
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(found["at"]))
    return LockedError(
        f"{host} is locked by {found['who']} (run {found['run'] or 'unknown'}, since {since})",
        hint="wait for that run to end and run the same command again; a run that dies frees the host by itself",
    )
