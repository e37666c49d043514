"""Programs that the manifest runs before and after a deploy, on the operator's machine or on the host."""

from __future__ import annotations

import secrets as randomness
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from otobotctl.agent.protocol import RUNTIME_DIR
from otobotctl.errors import ManifestError, OtobotError, StepFailedError
from otobotctl.plan.kinds.command import CommandSpec
from otobotctl.plan.model import Stage, Step
from otobotctl.transport import program
from otobotctl.workflows.converging import converge

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otobotctl.converge.model import Listener, Password
    from otobotctl.manifest import ResolvedClient
    from otobotctl.manifest.models import Hook
    from otobotctl.transport.base import Opener
    from otobotctl.workflows.desired import Desired, Loaded

# $1 is the mark that says it has run, $2 the seconds that it has.
_SCRIPT = 'mark=$1 limit=$2; shift 2; timeout --kill-after=10 "$limit" "$@"; rm -f "${mark%.*}".*; : > "$mark"'


@dataclass(frozen=True)
class HookRun:
    """A hook that was run; `failure` is "" when it ended well."""

    when: str
    where: str
    program: str
    failure: str


class Hooks:
    """The hooks of one client's deploy; `done` are those that were run."""

    def __init__(
        self, loaded: Loaded, client: ResolvedClient, reached: Opener, wanted: Desired, listener: Listener
    ) -> None:
        self._root, self._client = loaded.fleet.root, client
        self._reached, self._wanted, self._listener = reached, wanted, listener
        self.done: list[HookRun] = []
        _refuse_secrets(client, wanted.mask)

    def run(self, when: str, release: int | None, password: Password | None = None) -> OtobotError | None:
        """Run those for this moment in their order; return the failure that asks for going back, if one does.

        Raises:
            StepFailedError: one failed, and the manifest says `stop`.
        """
        for hook in (each for each in self._client.hooks if each.when == when):
            failure = self._one(hook, release, password)
            self.done.append(HookRun(when, hook.where, hook.argv[0], failure))
            if not failure:
                continue
            error = StepFailedError(
                f"{self._client.slug}: the {when} hook {hook.argv[0]} failed: {failure}",
                hint=f"put it right, or change clients.{self._client.slug}.hooks, and run the same command again",
            )
            if hook.on_failure == "back":
                return error
            if hook.on_failure == "stop":
                raise error
        return None

    def _one(self, hook: Hook, release: int | None, password: Password | None) -> str:
        variables = _variables(self._client, release)
        self._tell("hook", where=hook.where, program=hook.argv[0])
        if hook.where == "operator":
            return program.run(hook.argv, self._root, variables, hook.timeout_s, self._hear)
        try:
            converge(self._reached, replace(self._wanted, stages=(_stage(hook, variables),)), self._listener, password)
        except StepFailedError as error:
            return " ".join((error.message, *error.details[-1:]))
        return ""

    def _hear(self, line: str) -> None:
        for value in self._wanted.mask:
            line = line.replace(value, "***")
        self._tell("output", text=line)

    def _tell(self, event: str, **more: str) -> None:
        self._listener.event({"event": event, "host": self._client.host, **more})


def _refuse_secrets(client: ResolvedClient, values: Sequence[str]) -> None:
    """Raise ManifestError for an argument with a secret value in it: every process list would show it."""
    for number, hook in enumerate(client.hooks):
        if any(value in word for word in hook.argv for value in values):
            raise ManifestError(
                f"clients.{client.slug}.hooks[{number}]: an argument holds the value of a secret",
                hint="let the program read it itself, from a file or an agent of its own",
            )


def _variables(client: ResolvedClient, release: int | None) -> Mapping[str, str]:
    return {
        "OTOBOT_CLIENT": client.slug,
        "OTOBOT_HOST": client.host,
        "OTOBOT_DOMAIN": client.domain,
        "OTOBOT_ENVIRONMENT": client.environment,
        "OTOBOT_RELEASE": str(release or ""),
    }


def _stage(hook: Hook, variables: Mapping[str, str]) -> Stage:
    mark = f"{RUNTIME_DIR}/hook.{randomness.token_hex(4)}"
    argv = ("/bin/sh", "-ec", _SCRIPT, "hook", mark, str(hook.timeout_s), *hook.argv)
    return Stage("hook", (Step(f"hook/{hook.when}", CommandSpec(argv=argv, creates=mark, env=variables)),))
