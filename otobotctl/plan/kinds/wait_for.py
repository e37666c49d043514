"""Waiting until something on the host answers."""

from __future__ import annotations

import shlex
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from otobotctl.plan.fields import AbsolutePath
from otobotctl.plan.model import Change, Facts, Spec


class WaitForSpec(Spec, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Ready: `port` of `host` takes a connection, `url` answers `status`, `path` exists, or `argv` ends with 0."""

    kind: ClassVar[str] = "wait_for"

    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    host: str = "127.0.0.1"
    url: Annotated[str, Meta(pattern="^https?://")] | None = None
    status: Annotated[int, Meta(ge=100, le=599)] = 200
    path: AbsolutePath | None = None
    argv: Annotated[tuple[str, ...], Meta(min_length=1)] | None = None
    timeout_s: Annotated[float, Meta(gt=0, le=3600)] = 60

    def __post_init__(self) -> None:
        if sum(given is not None for given in (self.port, self.url, self.path, self.argv)) != 1:
            raise ValueError("give one of port, url, path, argv: what to wait for")

    def question(self) -> dict[str, Any]:
        """What to try."""
        return self.wire()

    def compare(self, facts: Facts) -> tuple[Change, ...]:
        """By whether it is ready."""
        return (
            () if facts["_ready"] else (Change("wait", before="not ready", after=f"ready within {self.timeout_s:g} s"),)
        )

    def title(self) -> str:
        """What is waited for."""
        if self.port is not None:
            return f"{self.host} port {self.port}"
        return self.url or self.path or shlex.join(self.argv or ())

    def commands(self) -> tuple[str, ...]:
        """A loop of shell."""
        return (f"timeout {self.timeout_s:g} sh -c {shlex.quote(f'until {self._once()}; do sleep 1; done')}",)

    def _once(self) -> str:
        if self.port is not None:
            return f"nc -z {shlex.quote(self.host)} {self.port}"
        if self.url is not None:
            return f'[ "$(curl -so /dev/null -w %{{http_code}} {shlex.quote(self.url)})" = {self.status} ]'
        return f"test -e {shlex.quote(self.path)}" if self.path is not None else shlex.join(self.argv or ())


SPEC = WaitForSpec
